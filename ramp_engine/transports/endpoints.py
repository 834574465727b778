"""Where an SSH connection leads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["SshTarget"]


@dataclass(frozen=True)
class SshTarget:
    """A login on a host; ``str()`` gives ``user@host:port``."""

    #: Name or address.
    host: str
    #: The login.
    user: str
    #: The private key: a file that nobody else can read, without a passphrase.
    key_path: Path
    #: Where sshd listens.
    port: int = 22

    @property
    def place(self) -> str:
        """``host:port``; an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.user}@{self.place}"
