"""What a `Station` needs of a connection to its instance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["Completed", "Connection"]


class Completed(Protocol):
    """What became of a command."""

    @property
    def returncode(self) -> int:
        """Its exit code."""

    @property
    def stdout(self) -> bytes:
        """What it wrote there."""

    @property
    def stderr(self) -> bytes:
        """What it wrote there."""


class Connection(Protocol):
    """What is needed of `ramp_engine.transports.ssh.SshConnection`."""

    def connect(self) -> None:
        """Connect, or do so again."""

    def run(
        self, command: Sequence[str], stdin: bytes = b"", *, timeout_seconds: float = 60.0
    ) -> Completed:
        """Run a command."""

    def put(self, source: Path, target: str, *, timeout_seconds: float) -> None:
        """Send a file, which appears as a whole."""

    def put_bytes(self, content: bytes, target: str, *, timeout_seconds: float) -> None:
        """Send a file, which appears as a whole."""

    def get(self, source: str, target: Path, *, max_bytes: int, timeout_seconds: float) -> str:
        """Fetch a regular file; give its hash."""

    def close(self) -> None:
        """Close it."""
