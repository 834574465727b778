"""Whether the machine is about to be taken away, asked anew at each command."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
from pathlib import Path
from typing import Optional

from .host_place import HostPlace
from .instance_metadata import get_notice, get_token, metadata_host

#: Where nobody has answered, nobody is asked for so long, in seconds.
SILENT_SECONDS = 600.0


def find_notice(place: HostPlace) -> Optional[str]:
    """Tell what the instance's metadata says of its end; None: nothing.

    Parameters
    ----------
    place : HostPlace
        Where a token is kept from command to command.
    """
    host = metadata_host()
    if not host:
        return None
    token, asked_at = _kept(place.token, host)
    if not token and time.monotonic() - asked_at < SILENT_SECONDS:
        return None
    token = token or _renewed(place.token, host)
    status, said = get_notice(host, token) if token else (0, "")
    if status == http.client.UNAUTHORIZED:
        token = _renewed(place.token, host)
        status, said = get_notice(host, token) if token else (0, "")
    return said if status == http.client.OK else None


def _kept(path: Path, host: str) -> tuple[str, float]:
    """Read the token of this boot, and when it was asked for [s]; empty: nobody answered."""
    try:
        said = json.loads(path.read_bytes())
        asked_at = float(said["asked_at"])
        if said["host"] == host and time.monotonic() - asked_at >= 0:
            return str(said["token"]), asked_at
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return "", float("-inf")


def _renewed(path: Path, host: str) -> str:
    token = get_token(host)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # on a full disk it is asked for each time
        said = {"host": host, "token": token, "asked_at": time.monotonic()}
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(said))
        temporary.replace(path)
    return token
