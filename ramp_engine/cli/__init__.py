"""The ``ramp`` command, a module a group. Nothing heavy is imported before it is needed."""
