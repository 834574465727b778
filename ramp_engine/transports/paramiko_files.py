"""Files over SFTP: never half written, never more than was asked for."""

from __future__ import annotations

import contextlib
import os
import posixpath
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator

import paramiko
from paramiko.sftp import SFTPError

from ramp_engine.errors import TransportError
from ramp_engine.transports.paramiko_session import FOREIGN, Session

__all__ = ["RefusedError", "RemoteFiles"]

#: What one request carries: every server takes so much.
CHUNK_BYTES = 32768
#: How much is asked for before the first answer is waited for, in bytes.
WINDOW_BYTES = 8 << 20


class RefusedError(TransportError):
    """The host refuses to write, for a reason that SFTP has no word for, such as a full disk."""


class RemoteFiles:
    """The files of a host, as a login sees them.

    Parameters
    ----------
    session : Session
        A connection that is logged in; what paramiko raises is raised from ours by it.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        channel = session.open_channel()
        try:
            channel.invoke_subsystem("sftp")
            _silence(channel)
            self._client = paramiko.SFTPClient(channel)
        except (SFTPError, paramiko.SSHException) as error:
            if not session.is_active:
                raise
            hint = "Does a start-up file of the login print something, or sshd have no SFTP?"
            raise TransportError(f"{session.target} does not speak SFTP: {error}", hint) from error

    def store(self, chunks: Iterable[bytes], target: str) -> None:
        """Write a file under a hidden name, of mode 0600, and rename it when it is whole."""
        hidden = posixpath.join(posixpath.dirname(target), f".{secrets.token_hex(8)}.part")
        try:
            with self._opened(hidden, "wx", f"writing {target}") as handle:
                handle.chmod(0o600)
                _write(handle, chunks)
            with self._telling(f"writing {target}"):
                self._client.posix_rename(os.fsencode(hidden), os.fsencode(target))
        except TransportError:  # the host is there
            with contextlib.suppress(*FOREIGN):
                self._client.remove(os.fsencode(hidden))
            raise

    def fetch(self, source: str, max_bytes: int, write: Callable[[bytes], object]) -> None:
        """Read a regular file, and give it in pieces.

        A link in the last place of its path is refused. Somebody who writes there may put one in
        place between the look and the opening: SFTP cannot open without following.
        """
        doing = f"reading {source}"
        with self._telling(doing):
            self._check(source, self._client.lstat(os.fsencode(source)), max_bytes)
        with self._opened(source, "rb", doing) as handle:
            before = handle.stat()
            n_bytes = self._check(source, before, max_bytes)
            n_read = 0
            for chunk in _read(handle, n_bytes):
                n_read += len(chunk)
                write(chunk)
            after = handle.stat()
        if n_read != n_bytes or (after.st_size, after.st_mtime) != (n_bytes, before.st_mtime):
            raise TransportError(f"{self.session.target}: {source} changed while it was read")

    def _check(self, source: str, facts: paramiko.SFTPAttributes, max_bytes: int) -> int:
        mode, size = facts.st_mode or 0, facts.st_size or 0
        place = f"{self.session.target}: {source}"
        if not stat.S_ISREG(mode):
            raise TransportError(f"{place} is {_kind(mode)}, no regular file")
        if size > max_bytes:
            raise TransportError(f"{place} has {size} bytes, more than the {max_bytes} allowed")
        return size

    @contextlib.contextmanager
    def _opened(self, path: str, mode: str, doing: str) -> Iterator[paramiko.SFTPFile]:
        """Open a file, and close it: one that stays open there keeps its room on the disk."""
        with self._telling(doing):
            handle = self._client.open(os.fsencode(path), mode)
        try:
            with self._telling(doing):
                yield handle
        except TransportError:  # the host is there
            with contextlib.suppress(*FOREIGN):
                handle.close()
            raise
        with self._telling(doing):
            handle.close()

    @contextlib.contextmanager
    def _telling(self, doing: str) -> Iterator[None]:
        """Tell a host that says no from one that is gone: paramiko raises OSError for both."""
        try:
            yield
        except OSError as error:
            if isinstance(error, TimeoutError) or not self.session.is_active:
                raise
            text = f"{self.session.target}: {doing} failed: {error.strerror or error}"
            raise (TransportError if error.errno else RefusedError)(text) from error


def _silence(channel: paramiko.Channel) -> None:
    """Let writes into a broken connection pass: the answer that does not come tells.

    paramiko asks for parts of a file from a thread, which would die with a traceback on stderr.
    """
    send = channel.send

    def send_or_not(content: bytes) -> int:
        try:
            return send(content)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            return len(content)

    channel.send = send_or_not  # type: ignore[method-assign, assignment]


def _write(handle: paramiko.SFTPFile, chunks: Iterable[bytes]) -> None:
    """Write without waiting for each answer; only the last one waits, for the answers to all.

    paramiko drops the answers that come while it closes a file, those of failed writes too.
    """
    handle.set_pipelined(True)
    last = b""
    for chunk in chunks:
        if last:
            handle.write(last)
        last = chunk
    handle.set_pipelined(False)
    if last:
        handle.write(last)


def _read(handle: paramiko.SFTPFile, n_bytes: int) -> Iterator[bytes]:
    """Read window by window, each asked for at once; ends early where the file shrank."""
    for start in range(0, n_bytes, WINDOW_BYTES):
        end = min(start + WINDOW_BYTES, n_bytes)
        handle.prefetch(end)
        for position in range(start, end, CHUNK_BYTES):
            wanted = min(CHUNK_BYTES, end - position)
            chunk = handle.read(wanted)
            yield chunk
            if len(chunk) < wanted:
                return


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a FIFO" if stat.S_ISFIFO(mode) else "special"
