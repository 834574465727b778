"""What the runs of a dispatcher need on its machine, and no database is asked for.

It takes a second or two until servers are warm. So a dispatcher can begin with them before it has
even imported what it asks the database with.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic, TypeVar

from ramp_engine.base import BaseWorker
from ramp_engine.config import EventConfig
from ramp_engine.errors import PluginError, RampError
from ramp_engine.evaluation.scratch import MAKING
from ramp_engine.preparation import Bundle, trusted_python
from ramp_engine.score_servers import ScoreServers

__all__ = ["Premises"]

logger = logging.getLogger(__name__)
_T = TypeVar("_T")

#: How long the end waits for what is just being begun, in seconds.
JOIN_SECONDS = 30.0


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

    @property
    def made(self) -> list[_T]:
        """The value; empty before it is made. Waits for nobody."""
        return list(self._value)


class Premises:
    """Hold the interpreter of the trusted steps, what the workers share, and the score servers.

    All of it is released by `close`.

    Parameters
    ----------
    event : EventConfig
    worker_class : type of BaseWorker
    """

    def __init__(self, event: EventConfig, worker_class: type[BaseWorker]) -> None:
        self.worker_class = worker_class
        #: Names the event as no other is named; empty until the database was asked.
        self.deployment = ""
        self.score_servers = ScoreServers(event)
        self._event = event
        self._resources = ExitStack()
        self._ending = threading.Event()
        self._beginning = threading.Thread(target=self._begin, name="premises", daemon=True)
        #: The interpreter of the trusted steps.
        self.python: Callable[[], Path] = _Lazy(lambda: trusted_python(event))
        #: What the workers share.
        self.shared = _Lazy(self._open_shared)

    def begin(self) -> None:
        """Start to warm up in the background, where the workers allow that; to be called once.

        Of the bundle it is assumed that it is the one made last. Where that is wrong, `warm_up`
        starts anew with the right one. What fails now is left to those who ask for it later.
        """
        if self.worker_class.begins_early:
            self._beginning.start()

    def warm_up(self, bundle: Bundle, *, is_scoring: bool) -> None:
        """Have ready what runs will soon need.

        Parameters
        ----------
        bundle : Bundle
        is_scoring : bool
            Whether predictions will be scored, too.
        """
        if is_scoring and not self._ending.is_set():
            self.score_servers.prepare(self.python(), bundle.public)
        # what the workers share may need a look at the machine first: that server imports meanwhile
        config = self._worker_config() | {"bundle_dir": str(bundle.public)}
        self.worker_class.warm_up(config, self.shared())

    def stop(self) -> None:
        """Have nothing more begun, and nobody wait for what is not there; may be called again."""
        self._ending.set()
        for shared in self.shared.made:
            self._give_up_waiting(shared)

    def _give_up_waiting(self, shared: object) -> None:
        try:
            self.worker_class.give_up_waiting(shared)
        except Exception:  # around a plugin
            logger.exception("what the workers share does not stop waiting")

    def close(self) -> None:
        """Release everything; may be called again."""
        self.stop()
        if self._beginning.is_alive():
            self._beginning.join(JOIN_SECONDS)  # what it opens would be nobody's
        self.score_servers.close()
        self._resources.close()

    def _begin(self) -> None:
        try:
            bundle = _latest_bundle(self._event)
            if bundle is not None and not self._ending.is_set():
                self.warm_up(bundle, is_scoring=True)
        except Exception:  # around a plugin; all of it is made again, and its failure told, later
            logger.debug("the servers were not begun early", exc_info=True)

    def _worker_config(self) -> dict[str, Any]:
        known = {"deployment": self.deployment} if self.deployment else {}
        return self._event.worker_config() | known

    def _open_shared(self) -> object:
        try:
            opening = self.worker_class.open_shared(self._worker_config())
            shared = self._resources.enter_context(opening)
        except RampError:
            raise
        except Exception as error:  # around a plugin
            reason = f"open_shared raised {type(error).__name__}: {error}"
            raise PluginError(self._event.worker_type, reason) from error
        if self._ending.is_set():
            self._give_up_waiting(shared)
        return shared


def _latest_bundle(event: EventConfig) -> Bundle | None:
    """Find the bundle made last, most often that of the deployed event; None: there is none."""
    try:
        paths = list((event.ramp.work_dir / "bundles").iterdir())
        paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:  # no such folder, or a bundle has just been removed
        return None
    made = [path for path in paths if not path.name.startswith(MAKING)]
    bundles = [Bundle.within(path.parent, path.name) for path in made]
    return next((bundle for bundle in bundles if bundle.exists), None)
