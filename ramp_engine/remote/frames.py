"""Messages on a stream socket: a header, which is JSON, and bytes.

::

    4 bytes   length of the header, big endian
    8 bytes   length of the payload, big endian
    header    a JSON object, UTF-8
    payload   any bytes
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ramp_engine.evaluation.untrusted_files import RefusedFileError, open_regular

__all__ = ["MAX_HEADER_BYTES", "MAX_PAYLOAD_BYTES", "Frame", "FrameError", "fits", "receive"]
__all__ += ["send", "send_files"]

#: A longer header or payload is refused, in bytes: who sends it is not one of ours.
MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES = 16 << 20, 20 << 30

_LENGTHS = struct.Struct("!IQ")
_CHUNK = 1 << 20


class Frame(NamedTuple):
    """One message."""

    header: dict[str, Any]
    payload: bytes = b""


class FrameError(Exception):
    """What came is no message, or broke off."""


def fits(said: Any) -> bool:
    """Tell whether something can stand in a header, beside a few words."""
    try:
        return len(json.dumps(said)) <= MAX_HEADER_BYTES - (1 << 20)
    except (ValueError, RecursionError):
        return False


def send(channel: socket.socket, header: dict[str, Any], payload: bytes = b"") -> None:
    """Send one message.

    Raises
    ------
    OSError
        The other side is gone, or takes too long.
    """
    text = json.dumps(header).encode()
    channel.sendall(_LENGTHS.pack(len(text), len(payload)) + text)
    if payload:
        channel.sendall(payload)


def send_files(
    channel: socket.socket, header: dict[str, Any], files: Iterable[tuple[Path, int]]
) -> None:
    """Send one message whose payload is in files, one after another.

    Parameters
    ----------
    channel : socket
    header : dict
    files : iterable of (Path, int)
        Each with its size [bytes]; nobody changes them meanwhile.

    Raises
    ------
    OSError
        The other side is gone, or takes too long; or a file is not what it was said to be.
    """
    listed = list(files)
    text = json.dumps(header).encode()
    n_payload = sum(size for _, size in listed)
    channel.sendall(_LENGTHS.pack(len(text), n_payload) + text)
    for path, size in listed:
        try:
            with open_regular(path.parent, path.name, size) as file:
                if size and channel.sendfile(file, count=size) != size:
                    raise OSError(f"{path} has become shorter")
        except RefusedFileError as error:
            raise OSError(str(error)) from error


def receive(channel: socket.socket) -> Frame | None:
    """Receive one message; None when the other side has closed the channel.

    Raises
    ------
    OSError
        The channel was reset, or it takes too long.
    FrameError
        It broke off in the middle, or is no message.
    """
    lengths = _read(channel, _LENGTHS.size)
    if not lengths:
        return None
    if len(lengths) < _LENGTHS.size:
        raise FrameError("the message broke off")
    n_header, n_payload = _LENGTHS.unpack(lengths)
    if n_header > MAX_HEADER_BYTES or n_payload > MAX_PAYLOAD_BYTES:
        raise FrameError(f"a message of {n_header} and {n_payload} bytes is refused")
    text, payload = _read(channel, n_header), _read(channel, n_payload)
    if len(text) < n_header or len(payload) < n_payload:
        raise FrameError("the message broke off")
    return Frame(_parsed(text), bytes(payload))


def _parsed(text: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError("the header is no JSON") from error
    if not isinstance(header, dict):
        raise FrameError("the header is no JSON object")
    return header


def _read(channel: socket.socket, n_bytes: int) -> bytearray:
    """Read so many bytes, or what there is up to the end."""
    data = bytearray()
    while len(data) < n_bytes:
        chunk = channel.recv(min(_CHUNK, n_bytes - len(data)))
        if not chunk:
            break
        data += chunk
    return data
