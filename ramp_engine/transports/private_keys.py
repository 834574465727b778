"""The private key with which a login is made."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ramp_engine.errors import WorkerSetupError

if TYPE_CHECKING:
    import paramiko

__all__ = ["check_private_key", "load_private_key"]

#: The bits that let others in: ssh refuses such a key too.
OPEN_BITS = stat.S_IRWXG | stat.S_IRWXO


def check_private_key(path: Path) -> None:
    """Say before anything costs money that a private key will not do.

    Parameters
    ----------
    path : Path
        The file: in OpenSSH's form or PEM, of the kind Ed25519, ECDSA or RSA.

    Raises
    ------
    WorkerSetupError
        It is missing, no file, readable by others, encrypted, or no private key at all; or
        paramiko is not installed.
    """
    load_private_key(path)


def load_private_key(path: Path) -> paramiko.PKey:
    """Read a private key; raises as `check_private_key` does."""
    _check_file(path)
    try:
        from paramiko import PasswordRequiredException, PKey, SSHException
        from paramiko.pkey import UnknownKeyType
    except ImportError as error:
        raise WorkerSetupError(
            f"SSH cannot be used here: {error}", "pip install 'ramp-engine[aws]'"
        ) from error
    try:
        return PKey.from_path(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    except (PasswordRequiredException, TypeError) as error:  # cryptography says it by a TypeError
        raise _encrypted(path) from error
    except (SSHException, UnknownKeyType, ValueError) as error:
        if "password" in str(error).lower():
            raise _encrypted(path) from error
        raise WorkerSetupError(f"{path} is no private key", _hint_of(path)) from error


def _check_file(path: Path) -> None:
    try:
        facts = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(facts.st_mode):
        raise WorkerSetupError(f"the private key {path} is no file")
    if facts.st_mode & OPEN_BITS:
        mode = stat.S_IMODE(facts.st_mode)
        raise WorkerSetupError(
            f"the private key {path} is open to others (mode {mode:04o})", f"chmod 400 {path}"
        )


def _unreadable(path: Path, error: OSError) -> WorkerSetupError:
    return WorkerSetupError(f"the private key {path} cannot be read: {error.strerror or error}")


def _encrypted(path: Path) -> WorkerSetupError:
    return WorkerSetupError(
        f"the private key {path} is encrypted, and nobody is there to type its passphrase",
        f"Make a key without one for this event, or take it off: ssh-keygen -p -N '' -f {path}",
    )


def _hint_of(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith((b"ssh-", b"ecdsa-")):
        return f"It is a public key: name the other half, {path.with_suffix('')}"
    return "It should begin with -----BEGIN OPENSSH PRIVATE KEY----- or similar"
