"""``python -m ramp_engine`` is the ``ramp`` command."""

from ramp_engine.cli.main import main

if __name__ == "__main__":
    main()
