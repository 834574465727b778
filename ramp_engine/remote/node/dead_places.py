"""Make room where agents were of nodes that are gone: Ray names a machine anew at each start."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ramp_engine.fold_process import remove_tree
from ramp_engine.remote.node.place import Place

__all__ = ["remove_dead"]

logger = logging.getLogger(__name__)

#: A node whose agent has not begun or ended for so long has no use for its bundles any more, in
#: seconds; it is sent them again.
UNUSED_SECONDS = 3600.0
#: The same for nodes of other events, which may begin again, in seconds.
FORGOTTEN_SECONDS = 30 * 86400.0


def remove_dead(place: Place) -> None:
    """Remove what other agents have left that do not live.

    Of the same event their runs go at once, their bundles after `UNUSED_SECONDS`; of others both
    after `FORGOTTEN_SECONDS`. What cannot be removed stays.

    Parameters
    ----------
    place : Place
        Of the agent that asks, which is left alone.
    """
    for root in _folders(place.home):
        if root != place.environments:
            is_own = root == place.root.parent
            for other in _folders(root):
                if other != place.root:
                    _remove(Place(place.home, other), is_own=is_own)


def _folders(parent: Path) -> list[Path]:
    with contextlib.suppress(OSError):  # somebody removes it
        return [path for path in parent.iterdir() if path.is_dir() and not path.is_symlink()]
    return []


def _remove(other: Place, *, is_own: bool) -> None:
    with contextlib.suppress(OSError), _locked(other.lock) as is_dead:
        unused_seconds = time.time() - other.root.stat().st_mtime
        if not is_dead or (not is_own and unused_seconds < FORGOTTEN_SECONDS):
            return
        for folder in (other.runs, other.servers):
            remove_tree(folder)
        if unused_seconds > UNUSED_SECONDS and other.bundles.exists():
            logger.info("bundles that nobody has used for long are removed: %s", other.root)
            remove_tree(other.bundles)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Keep an agent from beginning there; tell whether none lives."""
    lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    is_dead = False
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_dead = True
        yield is_dead
    finally:
        os.close(lock)
