"""What all runs of one dispatcher need, made at first use and looked at when it starts.

That is the interpreter of the trusted steps, the event's bundle, and what its workers share.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ramp_database.session import Database
from ramp_engine.bundles import ensure_bundle
from ramp_engine.config import EventConfig
from ramp_engine.errors import RampError, ResourceUnavailableError
from ramp_engine.premises import Premises
from ramp_engine.preparation import Bundle

logger = logging.getLogger(__name__)


class Provisions:
    """Hold what the runs of a dispatcher need.

    Parameters
    ----------
    database : Database
    event : EventConfig
    premises : Premises
        Closed at the end.
    on_checked : callable
        Called once, from another thread, when everything was looked at.
    is_scoring : bool
        Whether the score servers will be needed.

    Notes
    -----
    On entering, what every submission would fail with is looked for, in a thread of its own: a
    missing bundle is made, which may take minutes.
    """

    def __init__(
        self,
        database: Database,
        event: EventConfig,
        premises: Premises,
        on_checked: Callable[[], None],
        *,
        is_scoring: bool = True,
    ) -> None:
        self._database = database
        self._event = event
        self._premises = premises
        self._on_checked = on_checked
        self._is_scoring = is_scoring
        self._bundle_lock = threading.Lock()
        self._ending = threading.Event()
        self._is_checked = threading.Event()
        self._check = threading.Thread(target=self._check_all, name="readiness", daemon=True)

    def __enter__(self) -> Self:
        """Start to look at everything."""
        self._check.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release what the workers shared."""
        self._ending.set()
        self._premises.close()

    @property
    def is_checked(self) -> bool:
        """Whether everything was looked at, and what is wrong was told."""
        return self._is_checked.is_set()

    def bundle(self, name: str | None = None) -> Bundle:
        """Find the bundle as the event is deployed now; one run at a time makes a missing one.

        Parameters
        ----------
        name : str, optional
            The bundle's, where it is known already.
        """
        with self._bundle_lock:
            return ensure_bundle(self._database, self._event, name, stopping=self._ending)

    def stop(self) -> None:
        """End the making of a bundle, and all waiting for what the workers share."""
        self._ending.set()
        self._premises.stop()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the look at everything, for so long."""
        self._check.join(timeout_seconds)

    def _check_all(self) -> None:
        try:
            made = [
                self._try_to_make(make)
                for make in (self._premises.python, self.bundle, self._premises.shared)
            ]
            if all(made):
                self._try_to_make(self._warm_up)
        finally:
            self._is_checked.set()
            self._on_checked()

    def _warm_up(self) -> None:
        self._premises.warm_up(self.bundle(), is_scoring=self._is_scoring)

    def _try_to_make(self, make: Callable[[], object]) -> bool:
        """Make one thing, and tell of its failure; tell whether it is there."""
        if self._ending.is_set():
            return False
        try:
            make()
        except Exception as error:
            if self._ending.is_set():
                logger.info("the check of readiness was ended: %s", error)
            elif isinstance(error, ResourceUnavailableError):
                logger.error("submissions wait: %s", error)
            elif isinstance(error, RampError):
                logger.error("submissions will fail until this is mended: %s", error)
            else:
                logger.exception("the check of readiness failed")
            return False
        return True
