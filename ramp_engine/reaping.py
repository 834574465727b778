"""Ending what dead dispatchers have left outside of this machine, such as instances of a cloud.

How that is done is the worker's affair (`BaseWorker.reap`); here it is called, now and then, and
told who is alive.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel

from ramp_database import events, liveness
from ramp_database.presence import Presence
from ramp_database.session import Database
from ramp_engine import registry
from ramp_engine.base import BaseWorker
from ramp_engine.config import EventConfig, load_event
from ramp_engine.errors import DatabaseUnavailableError, RampError

__all__ = ["REAP_SECONDS", "Place", "Reaping", "Witness", "reap_config"]

logger = logging.getLogger(__name__)

#: Time between two calls of `BaseWorker.reap`, in seconds.
REAP_SECONDS = 60.0
#: So long after the last sign of life of its dispatcher a run may be adopted, in seconds, where
#: the worker's keys do not say.
ADOPT_SECONDS = 600.0


class Witness:
    """Tell who is alive.

    Parameters
    ----------
    database : Database
    event : EventConfig
        Says as ``adopt_within_seconds`` of its worker how long after the last sign of life of its
        owner a run that can be adopted counts as live.
    clock : callable
        Monotonic seconds; tests move it.
    patience_seconds : float, optional
        Default: ``stale_after_seconds`` of each dispatcher.

    Notes
    -----
    After an outage of the database every heartbeat is old, and nobody is dead for that. So a
    dispatcher that nobody has declared dead counts as live until it has been silent for
    `patience_seconds` while the database could be asked.
    """

    def __init__(
        self,
        database: Database,
        event: EventConfig,
        clock: Callable[[], float] = time.monotonic,
        *,
        patience_seconds: float | None = None,
    ) -> None:
        self._database = database
        self._adopt_seconds = float(event.worker.get("adopt_within_seconds", ADOPT_SECONDS))
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._silent: dict[int, tuple[datetime, float]] = {}  # its last beat; when we saw it stale

    def is_live(self, dispatcher_id: int, submission_id: int, attempt: int) -> bool:
        """Tell whether somebody may answer for what was started by and for these.

        Raises
        ------
        DatabaseUnavailableError
            Nobody knows; and what was known of silences is forgotten.
        """
        try:
            with self._database.session(read_only=True) as session:
                found = liveness.answerable(session, dispatcher_id, submission_id, attempt)
        except DatabaseUnavailableError:
            self.doubt()
            raise
        maker, owner = found.maker, found.owner
        if maker is not None and self.lives(maker):
            return True
        if owner is None:
            return False
        return owner.silent_seconds < self._adopt_seconds or self.lives(owner)

    def lives(self, dispatcher: Presence) -> bool:
        """Tell whether a dispatcher lives, or might."""
        if not dispatcher.is_stale:
            with self._lock:
                self._silent.pop(dispatcher.id, None)
            return dispatcher.is_live
        patience = self._patience_seconds
        if patience is None:
            patience = dispatcher.stale_after_seconds
        now = self._clock()
        with self._lock:
            beat_at, since = self._silent.get(dispatcher.id, (None, now))
            if beat_at != dispatcher.beat_at:
                since = now
            self._silent[dispatcher.id] = (dispatcher.beat_at, since)
        return now - since < patience

    @property
    def silent(self) -> tuple[int, ...]:
        """Dispatchers that were found silent, and that nobody has declared dead."""
        with self._lock:
            return tuple(sorted(self._silent))

    def doubt(self) -> None:
        """Forget how long dispatchers have been silent: the database was away."""
        with self._lock:
            self._silent.clear()


@dataclass(frozen=True)
class Place:
    """Where submissions of an event run."""

    event: EventConfig  #: with all keys of the worker, as its model has them
    worker_class: type[BaseWorker]
    #: gives what the workers of the caller share; asked for only where the class reaps
    shared: Callable[[], object] = lambda: None

    @classmethod
    def read(cls, event_config: Path, deployment_dir: Path | None) -> Self:
        """Read an event's file, and import its worker.

        Raises
        ------
        ConfigErrors
            The file is not in order.
        PluginError
            There is no such worker, or it fails to load.
        """
        found: list[type[BaseWorker]] = []

        def model(worker_type: str) -> type[BaseModel] | None:
            found.append(registry.worker_class(worker_type))
            return found[-1].config_model

        event = load_event(event_config, deployment_dir, worker_model=model)
        return cls(event, found[-1])


def reap_config(
    database: Database, event: EventConfig, dispatcher_id: int | None = None
) -> dict[str, Any]:
    """Give the ``config`` of `BaseWorker.reap`.

    Raises
    ------
    NotFoundError
        The event is not deployed.
    DatabaseUnavailableError
        It is not known.
    """
    with database.session(read_only=True) as session:
        deployment = events.identity(events.get_event(session, event.ramp.event_name))
    return event.worker_config() | {"deployment": deployment, "dispatcher_id": dispatcher_id}


class Reaping:
    """Call `BaseWorker.reap` for one event about once a minute, each time in a thread of its own.

    Parameters
    ----------
    database : Database
    place : callable
        Gives the `Place`; called in that thread, since to import a worker may take long and fail.
    clock : callable
        Monotonic seconds; tests move it.

    Notes
    -----
    There is never more than one call under way: while one hangs, no other is made. What a call
    raises is logged, once for the same trouble. While the database is away nothing is reaped, since
    nobody knows who is alive.
    """

    def __init__(
        self,
        database: Database,
        place: Callable[[], Place],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._place = place
        self._clock = clock
        self._witness: Witness | None = None
        self._due_at = clock()
        self._is_needed = True
        self._trouble = ""
        self._thread: threading.Thread | None = None

    def turn(self, dispatcher_id: int | None = None, *, is_urgent: bool = False) -> None:
        """Begin a call if it is time for one; returns at once.

        Parameters
        ----------
        dispatcher_id : int, optional
            The caller, where it is a dispatcher.
        is_urgent : bool
            Whether it is time in any case, as when a dispatcher was found dead.
        """
        now = self._clock()
        self._due_at = now if is_urgent else self._due_at
        if not self._is_needed or now < self._due_at:
            return
        if self.is_busy:
            return
        self._due_at = now + REAP_SECONDS
        self._thread = threading.Thread(
            target=self._try_to_reap, args=(dispatcher_id,), name="reaping", daemon=True
        )
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way."""
        return self._thread is not None and self._thread.is_alive()

    def doubt(self) -> None:
        """Note that the database was away, so that silence says nothing about who is alive."""
        if self._witness is not None:
            self._witness.doubt()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the call that is under way, for so long; no other is begun."""
        self._is_needed = False
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _try_to_reap(self, dispatcher_id: int | None) -> None:
        try:
            self._reap(dispatcher_id)
        except DatabaseUnavailableError as error:
            self.doubt()
            self._tell(f"nothing is reaped until the database answers: {error}")
        except (RampError, OSError) as error:
            self._tell(f"what dead dispatchers left could not be reaped: {error}")
        except Exception:  # around a plugin
            logger.exception("the worker's reap failed")
        else:
            self._trouble = ""

    def _reap(self, dispatcher_id: int | None) -> None:
        place = self._place()
        if not place.worker_class.reaps:
            self._is_needed = False
            return
        if self._witness is None:
            self._witness = Witness(self._database, place.event, self._clock)
        config = reap_config(self._database, place.event, dispatcher_id)
        place.worker_class.reap(config, place.shared(), self._witness.is_live)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.warning("%s", trouble)
        self._trouble = trouble
