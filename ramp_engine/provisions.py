"""What all runs of one dispatcher need, made at first use and looked at when it starts.

That is the interpreter of the trusted steps, the event's bundle, and what its workers share.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from ramp_database.session import Database
from ramp_engine.base import BaseWorker
from ramp_engine.bundles import ensure_bundle
from ramp_engine.config import EventConfig
from ramp_engine.errors import PluginError, RampError
from ramp_engine.preparation import Bundle, trusted_python
from ramp_engine.scoring import WarmScoring

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class _Lazy(Generic[_T]):
    """A value that is made at first use, by one thread; a failure is tried again."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: list[_T] = []

    def __call__(self) -> _T:
        with self._lock:
            if not self._value:
                self._value.append(self._make())
            return self._value[0]


class Provisions:
    """Hold what the runs of a dispatcher need.

    Parameters
    ----------
    database : Database
    event : EventConfig
    worker_class : type of BaseWorker
    on_checked : callable
        Called once, from another thread, when everything was looked at.
    scoring : WarmScoring, optional
        Opened, warmed up in the background, and closed.

    Notes
    -----
    On entering, what every submission would fail with is looked for, in a thread of its own: a
    missing bundle is made, which may take minutes.
    """

    def __init__(
        self,
        database: Database,
        event: EventConfig,
        worker_class: type[BaseWorker],
        on_checked: Callable[[], None],
        scoring: WarmScoring | None = None,
    ) -> None:
        self._database = database
        self._event = event
        self._worker_class = worker_class
        self._on_checked = on_checked
        self._scoring = scoring
        self._resources = ExitStack()
        self._bundle_lock = threading.Lock()
        self._ending = threading.Event()
        self._is_checked = threading.Event()
        self._check = threading.Thread(target=self._check_all, name="readiness", daemon=True)
        #: The interpreter of the trusted steps.
        self.python: Callable[[], Path] = _Lazy(lambda: trusted_python(event))
        #: What the workers share.
        self.shared: Callable[[], object] = _Lazy(self._open_shared)

    def __enter__(self) -> Self:
        """Start to look at everything."""
        if self._scoring is not None:
            self._resources.enter_context(self._scoring)
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
        self._resources.close()

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
        """End the making of a bundle."""
        self._ending.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the look at everything, for so long."""
        self._check.join(timeout_seconds)

    def _open_shared(self) -> object:
        try:
            shared = self._worker_class.open_shared(self._event.worker_config())
            return self._resources.enter_context(shared)
        except RampError:
            raise
        except Exception as error:  # around a plugin
            reason = f"open_shared raised {type(error).__name__}: {error}"
            raise PluginError(self._event.worker_type, reason) from error

    def _check_all(self) -> None:
        try:
            made = [self._try_to_make(make) for make in (self.python, self.bundle, self.shared)]
            if all(made):
                self._try_to_make(self._warm_up)
        finally:
            self._is_checked.set()
            self._on_checked()

    def _warm_up(self) -> None:
        config = self._event.worker_config() | {"bundle_dir": str(self.bundle().public)}
        self._worker_class.warm_up(config, self.shared())
        if self._scoring is not None:
            self._scoring.warm_up(self.python(), self.bundle())

    def _try_to_make(self, make: Callable[[], object]) -> bool:
        """Make one thing, and tell of its failure; tell whether it is there."""
        if self._ending.is_set():
            return False
        try:
            make()
        except Exception as error:
            if self._ending.is_set():
                logger.info("the check of readiness was ended: %s", error)
            elif isinstance(error, RampError):
                logger.error("submissions will fail until this is mended: %s", error)
            else:
                logger.exception("the check of readiness failed")
            return False
        return True
