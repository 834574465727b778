"""The environments that were made on a node from requirements, for whatever event.

They stay when an agent ends, and the least recently used go when there are many. Who uses one
holds a lock beside it, which the kernel gives up when that process dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import sys
import threading
from pathlib import Path

from ramp_engine.environments import create_env
from ramp_engine.fold_process import remove_tree

__all__ = ["MadeEnvironments"]

logger = logging.getLogger(__name__)

#: More than that is not kept besides what is used, in bytes.
MAX_BYTES = 20 << 30


class MadeEnvironments:
    """The environments of one node.

    Parameters
    ----------
    folder : Path
        Shared by the agents of a user.
    max_bytes : int
        So much is kept.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}  # descriptors, for as long as this process lives

    def make(self, requirements: str) -> Path:
        """Make an environment, unless this node has it; it stays while this process lives.

        Parameters
        ----------
        requirements : str
            The text of a ``requirements.txt``.

        Returns
        -------
        Path
            Its interpreter.

        Raises
        ------
        WorkerSetupError
            pip fails: with its last lines.
        OSError
            The disk refuses.
        """
        inputs = "\n".join([requirements, sys.executable, platform.python_version()])
        name = hashlib.sha256(inputs.encode()).hexdigest()[:16]
        self._folder.mkdir(exist_ok=True)
        self._hold(name)
        listed = self._folder / f"{name}.txt"
        is_new = not listed.exists()
        listed.write_text(requirements)  # which says when it was last used as well
        python = create_env(listed, self._folder / name)
        if is_new:
            self._make_room()
        return python

    def _hold(self, name: str) -> None:
        with self._lock:
            if name not in self._held:
                descriptor = self._opened(name)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                self._held[name] = descriptor

    def _opened(self, name: str) -> int:
        return os.open(self._folder / f"{name}.use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _make_room(self) -> None:
        """Remove the environments that nobody has used for longest, until few enough are left."""
        listed = sorted(self._folder.glob("*.txt"), key=lambda path: path.stat().st_mtime)
        sizes = {path: _size(path.with_suffix("")) for path in listed}
        total = sum(sizes.values())
        for path in listed:
            if total <= self._max_bytes:
                break
            if self._remove(path):
                total -= sizes[path]

    def _remove(self, listed: Path) -> bool:
        """Remove an environment, unless somebody uses it."""
        descriptor = self._opened(listed.stem)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            listed.unlink(missing_ok=True)
            remove_tree(listed.with_suffix(""))
            logger.info("removed the environment %s to make room", listed.stem)
            return True
        finally:
            os.close(descriptor)


def _size(folder: Path) -> int:
    """Add up the sizes of the files below a folder, in bytes; they may go meanwhile."""
    n_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                n_bytes += os.lstat(f"{parent}/{name}").st_size
            except OSError:
                continue
    return n_bytes
