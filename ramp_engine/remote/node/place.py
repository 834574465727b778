"""Where an agent has its files: a folder per user, deployed event and node.

::

    <node_dir or TMPDIR>/ramp-<uid>/environments/<hash>       made from requirements, shared
                                    <key>/<hash of the node>/
                                        lock socket log
                                        bundles/  runs/  servers/
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramp_engine.errors import WorkerSetupError

__all__ = ["Place"]

#: Its own; others may pass through it where folds run as another user without mounts of their own.
PRIVATE, PASSABLE = 0o700, 0o711


@dataclass(frozen=True)
class Place:
    """The folders of one agent."""

    home: Path  #: ``ramp-<uid>``
    root: Path  #: the agent's own

    @classmethod
    def of(cls, site: Mapping[str, Any], node: str) -> Place:
        """Tell where the agent of a node has its files.

        Parameters
        ----------
        site : mapping
            ``key`` and ``node_dir`` of a request.
        node : str
            The engine's name of the node.
        """
        parent = Path(site.get("node_dir") or tempfile.gettempdir()).absolute()
        home = parent / f"ramp-{os.getuid()}"
        name = hashlib.sha256(node.encode()).hexdigest()[:8]
        return cls(home, home / _checked_key(site) / name)

    @property
    def lock(self) -> Path:
        """Locked by the agent while it lives."""
        return self.root / "lock"

    @property
    def socket_path(self) -> Path:
        """Where it answers."""
        return self.root / "socket"

    @property
    def log(self) -> Path:
        """What it says of itself."""
        return self.root / "log"

    @property
    def bundles(self) -> Path:
        """The bundles that have come."""
        return self.root / "bundles"

    @property
    def runs(self) -> Path:
        """The folders of folds that run."""
        return self.root / "runs"

    @property
    def servers(self) -> Path:
        """Where fold servers work."""
        return self.root / "servers"

    @property
    def environments(self) -> Path:
        """The environments that were made on this node, for whatever event."""
        return self.home / "environments"

    def make(self) -> None:
        """Make the folders, and see that they are ours alone.

        Raises
        ------
        WorkerSetupError
            One of them is a link, somebody else's, or open to others.
        OSError
            The disk refuses.
        """
        self.home.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self.home, self.root.parent, self.root):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=PRIVATE)
            _check(folder)

    def open_to(self, uid: int | None) -> None:
        """Let another user pass through the folders on the way to bundles and runs."""
        if uid is not None:
            for folder in (self.home, self.root.parent, self.root, self.bundles, self.runs):
                folder.chmod(PASSABLE)

    @contextlib.contextmanager
    def address(self) -> Iterator[str]:
        """Give a name of the socket that is short enough for the kernel, within the block."""
        folder = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{folder}/{self.socket_path.name}"
        finally:
            os.close(folder)

    def connect(self, timeout_seconds: float) -> socket.socket:
        """Connect to the agent.

        Raises
        ------
        OSError
            There is none.
        """
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.settimeout(timeout_seconds)
            with self.address() as address:
                channel.connect(address)
        except BaseException:
            channel.close()
            raise
        return channel


def _checked_key(site: Mapping[str, Any]) -> str:
    key = str(site.get("key", ""))
    if not (key.isalnum() and key.isascii() and len(key) <= 64):  # it becomes the name of a folder
        raise WorkerSetupError(f"no key of a deployed event: {key!r:.100}")
    return key


def _check(folder: Path) -> None:
    status = folder.lstat()
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if not is_ours or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = f"{folder} is not a folder that only user {os.getuid()} may write to"
        raise WorkerSetupError(reason, "Remove it, or give another folder as node_dir")
