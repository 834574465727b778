"""The public key by which a host is known."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

__all__ = ["HostKey"]


@dataclass(frozen=True)
class HostKey:
    """A host's public key; ``str()`` gives the line of ``ssh_host_*_key.pub``."""

    #: Such as ``ssh-ed25519``.
    kind: str
    #: The key itself, as in a ``.pub`` file.
    base64: str

    @classmethod
    def parse(cls, line: str) -> HostKey:
        """Read ``KIND BASE64 [COMMENT]``, as in a ``.pub`` file or an instance's console output.

        Raises
        ------
        ValueError
            It is no such line, or the key is of another kind than it says.
        """
        words = line.split(maxsplit=2)
        if len(words) < 2:
            raise ValueError(f"no host key (KIND BASE64 [COMMENT]): {line!r}")
        key = cls(words[0], words[1])
        if not _content(key.base64).startswith(_field(key.kind)):
            raise ValueError(f"no host key of the kind {key.kind!r}: {line!r}")
        return key

    @classmethod
    def of(cls, kind: str, content: bytes) -> HostKey:
        """Make it of the bytes that a host shows."""
        return cls(kind, base64.b64encode(content).decode("ascii"))

    @property
    def fingerprint(self) -> str:
        """``SHA256:...``, as ``ssh-keygen -l`` prints it."""
        digest = hashlib.sha256(_content(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    def __str__(self) -> str:
        return f"{self.kind} {self.base64}"


def _content(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"no host key, its base64 is broken ({error}): {text!r}") from error


def _field(text: str) -> bytes:
    content = text.encode()
    return len(content).to_bytes(4, "big") + content
