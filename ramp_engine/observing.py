"""Who watches the runs of a dispatcher."""

from __future__ import annotations

from typing import Protocol

from ramp_engine.run import Run

__all__ = ["Observer", "Quiet"]


class Observer(Protocol):
    """Somebody who watches the runs, such as a progress display."""

    def run_started(self, run: Run) -> None:
        """Tell that a submission was claimed."""

    def run_ended(self, run: Run) -> None:
        """Tell that a run has ended; ``run.verdict`` says how."""


class Quiet:
    """The observer that does nothing."""

    def run_started(self, run: Run) -> None:
        """Do nothing."""

    def run_ended(self, run: Run) -> None:
        """Do nothing."""
