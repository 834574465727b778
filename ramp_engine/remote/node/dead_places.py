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


def remove_dead(place: Place) -> None:
    """Remove what other agents of the same event have left that do not live.

    Their runs go at once, their bundles after `UNUSED_SECONDS`. What cannot be removed stays.

    Parameters
    ----------
    place : Place
        Of the agent that asks, which is left alone.
    """
    for root in _others(place):
        other = Place(place.home, root)
        with contextlib.suppress(OSError), _locked(other.lock) as is_dead:
            if not is_dead:
                continue
            unused_seconds = time.time() - root.stat().st_mtime
            for folder in (other.runs, other.servers):
                remove_tree(folder)
            if unused_seconds > UNUSED_SECONDS and other.bundles.exists():
                logger.info("the bundles of a node that is gone are removed: %s", root)
                remove_tree(other.bundles)


def _others(place: Place) -> list[Path]:
    return [root for root in place.root.parent.iterdir() if root != place.root and root.is_dir()]


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
