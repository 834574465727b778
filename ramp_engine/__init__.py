"""What happens: dispatchers, workers, evaluation and the ``ramp`` command."""

__version__ = "0.1.0"
