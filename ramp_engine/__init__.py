"""What happens: dispatchers, workers, evaluation and the ``ramp`` command."""

__version__ = "1.0.0.dev0"
