"""What the runs of one dispatcher share, and what is left of one whose worker hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_engine.base import BaseWorker
from ramp_engine.calls import Call
from ramp_engine.config import EventConfig
from ramp_engine.preparation import Bundle
from ramp_engine.scoring import ScoreStep

__all__ = ["HungCall", "RunContext"]


@dataclass(frozen=True)
class RunContext:
    """What the runs of one dispatcher share."""

    database: Database
    event: EventConfig
    worker_class: type[BaseWorker]
    shared: Callable[[], object]  #: what the workers share, opened at first use
    python: Callable[[], Path]  #: the interpreter of the trusted steps
    #: the event's bundle of now, found by its name where that is known, made when it is missing
    bundle: Callable[[str | None], Bundle]
    score: ScoreStep  #: what makes scores of predictions
    wake: Callable[[], None]  #: called when a run has ended
    deployment: str  #: names the event as no other is named

    def identity(self, claim: Claim) -> dict[str, Any]:
        """Give the keys by which a worker marks what it starts; see `BaseWorker`."""
        return {
            "deployment": self.deployment,
            "dispatcher_id": claim.dispatcher_id,
            "submission_id": claim.submission_id,
            "attempt": claim.attempt,
        }


@dataclass(frozen=True)
class HungCall:
    """A call of a worker that was given up, with the thread that waits for it."""

    thread: threading.Thread
    call: Call
