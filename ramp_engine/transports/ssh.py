"""Run commands and move files on another machine by SSH: for workers of every kind.

A worker of one's own needs no more than this::

    from pathlib import Path
    from ramp_engine.errors import ConnectionLostError
    from ramp_engine.transports.ssh import HostKey, SshConnection, SshTarget

    target = SshTarget("gpu1.example.org", user="ramp", key_path=Path("/etc/ramp/gpu1.key"))
    known = [HostKey.parse("ssh-ed25519 AAAAC3Nza...")]  # of /etc/ssh/ssh_host_ed25519_key.pub
    with SshConnection(target, known) as host:
        host.put(Path("submission.tar"), "jobs/17.tar")
        done = host.run(["tar", "-C", "jobs", "-xf", "jobs/17.tar"], timeout_seconds=30)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        digest = host.get("jobs/out.npz", Path("out.npz"), max_bytes=1 << 20)

Relative paths on the other machine start at the login's home. Nothing but what is given here
counts: no SSH agent, no ``~/.ssh/config``, no ``known_hosts``, no password. Every wait has an end.
What fails raises a `TransportError`: `ConnectionLostError` when there is no connection any more,
and `connect` may help, `HostKeyError` and `AuthenticationError` when trying again never helps. A
command that is given up may run on over there, as may one whose connection broke: start what takes
long detached, and ask for it by short commands.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from ramp_engine.errors import ConnectionLostError, TransportError
from ramp_engine.transports.commands import Completed, as_line, shortened
from ramp_engine.transports.endpoints import SshTarget
from ramp_engine.transports.host_keys import HostKey
from ramp_engine.transports.private_keys import check_private_key, load_private_key

if TYPE_CHECKING:
    from ramp_engine.transports.paramiko_files import RemoteFiles
    from ramp_engine.transports.paramiko_session import Session

__all__ = ["Completed", "HostKey", "SshConnection", "SshTarget", "check_private_key"]

#: What a local file is read in, in bytes: one request.
CHUNK_BYTES = 32768


class SshConnection:
    """A connection to a host, with which commands are run and files moved, one after another.

    Threads may share it: each waits for the one before. `close` may be called at any time, and
    makes what another thread waits for fail.

    Parameters
    ----------
    target : SshTarget
        Where to, as whom, with which key.
    expected : collection of HostKey
        The keys by which the host is known. Empty: the first key that it shows is taken, kept as
        `host_key`, and held against it whenever this object connects again; keep it for the next
        object.
    connect_seconds : float
        How long dialling, and then greeting and login, may take. (A resolver that hangs over a
        host's name has its own limits.)
    answer_seconds : float
        A host that answers nothing for so long is gone, also in mid-command.
    """

    def __init__(
        self,
        target: SshTarget,
        expected: Collection[HostKey] = (),
        *,
        connect_seconds: float = 15.0,
        answer_seconds: float = 30.0,
    ) -> None:
        self.target = target
        #: The key that the host has shown, or None before the first connection.
        self.host_key: HostKey | None = None
        self._expected = frozenset(expected)
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds
        self._turn = threading.RLock()
        self._session: Session | None = None
        self._files: RemoteFiles | None = None

    def __enter__(self) -> SshConnection:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.target)!r}, is_connected={self.is_connected})"

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that is not known to be broken."""
        session = self._session
        return session is not None and session.is_active

    def connect(self) -> None:
        """Connect, see that the host is the right one, log in; anew, when there is a connection.

        Raises
        ------
        ConnectionLostError
            Nobody answers, or not in time.
        HostKeyError
            The host shows another key than expected, or than the first time.
        AuthenticationError
            The host refuses the key.
        WorkerSetupError
            The private key will not do (see `check_private_key`), or paramiko is not installed.
        """
        key = load_private_key(self.target.key_path)
        from ramp_engine.transports.paramiko_session import Session  # paramiko is there

        with self._my_turn(self._connect_seconds):
            self.close()
            session = Session(self.target, self._connect_seconds, self._answer_seconds)
            self._session = session
            try:
                with session.time_limit(self._connect_seconds, "the login"):
                    self.host_key = session.greet(self._expected or self._seen())
                    session.log_in(key)
            except BaseException:
                self.close()
                raise

    def _seen(self) -> Collection[HostKey]:
        return () if self.host_key is None else (self.host_key,)

    def run(
        self,
        command: Sequence[str],
        stdin: bytes = b"",
        *,
        timeout_seconds: float = 60,
        max_bytes: int = 4 << 20,
    ) -> Completed:
        """Run a command, and wait for its end.

        Parameters
        ----------
        command : sequence of str
            The program and its arguments: a word stays a word, whatever is in it.
        stdin : bytes
            What it reads.
        timeout_seconds : float
            How long it may take, until it and whatever else holds its output have ended.
        max_bytes : int
            How much it may print, stdout and stderr together.

        Returns
        -------
        Completed
            Also of a command that failed: look at ``returncode``.

        Raises
        ------
        TransportError
            It took too long or printed too much; it may run on.
        ConnectionLostError
            The host is gone, or there is no connection. The command may have run, and may run on.
        """
        line = as_line(command)
        limit = timeout_seconds + self._answer_seconds  # so long, to hear whether the host lives
        with self._operation(limit, shortened(line)) as session:
            return session.execute(line, stdin, timeout_seconds, max_bytes)

    def put(self, source: Path, target: str, *, timeout_seconds: float = 600) -> None:
        """Copy a file to the host.

        It is written beside its place under a hidden name, readable by the login only (mode 0600),
        and renamed when it is whole: whoever looks finds the former file or the new one.

        Parameters
        ----------
        source : Path
            The file here.
        target : str
            Its path there; the directory must exist.
        timeout_seconds : float
            How long it may take.

        Raises
        ------
        TransportError
            The file cannot be read here or written there; ``is_full`` when there is no room.
        ConnectionLostError
            The host is gone. A part may be left there, as ``.*.part``.
        """
        try:
            with source.open("rb") as file:
                n_bytes = os.fstat(file.fileno()).st_size
                self._store(_chunks_of(file, source), n_bytes, target, timeout_seconds)
        except OSError as error:
            raise _unreadable(source, error) from error

    def put_bytes(self, content: bytes, target: str, *, timeout_seconds: float = 600) -> None:
        """Write a file on the host, as `put` does."""
        view = memoryview(content)
        chunks = (bytes(view[i : i + CHUNK_BYTES]) for i in range(0, len(content), CHUNK_BYTES))
        self._store(chunks, len(content), target, timeout_seconds)

    def get(
        self, source: str, target: Path, *, max_bytes: int, timeout_seconds: float = 600
    ) -> str:
        """Copy a file from the host, which is not trusted with its size or kind.

        Parameters
        ----------
        source : str
            Its path there: a regular file, no link.
        target : Path
            The file here: replaced when all has come, untouched otherwise; of mode 0600.
        max_bytes : int
            How large it may be; nothing beyond is written.
        timeout_seconds : float
            How long it may take.

        Returns
        -------
        str
            The SHA-256 of what came, in hex.

        Raises
        ------
        TransportError
            It is missing, no regular file, too large, changed while it was read, or cannot be
            written here.
        ConnectionLostError
            The host is gone.
        """
        digest = hashlib.sha256()
        with _replacing(target) as write:

            def take(chunk: bytes) -> None:
                digest.update(chunk)
                write(chunk)

            with self._operation(timeout_seconds, f"reading {source}") as session:
                self._files_of(session).fetch(source, max_bytes, take)
        return digest.hexdigest()

    def close(self) -> None:
        """Close the connection; never blocks, and may be called at any time, more than once."""
        session, self._session, self._files = self._session, None, None
        if session is not None:
            session.end()

    @contextlib.contextmanager
    def _my_turn(self, seconds: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=seconds):
            raise TransportError(f"{self.target}: busy for another thread for {seconds:g} s")
        try:
            yield
        finally:
            self._turn.release()

    @contextlib.contextmanager
    def _operation(self, seconds: float, doing: str) -> Iterator[Session]:
        """Take one's turn; the connection ends when the time is up."""
        with self._my_turn(seconds):
            session = self._session
            if session is None or not session.is_active:
                raise ConnectionLostError(f"{self.target}: {doing} failed: not connected")
            with session.time_limit(seconds, doing):
                yield session

    def _files_of(self, session: Session) -> RemoteFiles:
        from ramp_engine.transports.paramiko_files import RemoteFiles

        files = self._files
        if files is None or files.session is not session:
            self._files = files = RemoteFiles(session)
        return files

    def _store(self, chunks: Iterable[bytes], n_bytes: int, target: str, seconds: float) -> None:
        from ramp_engine.transports.paramiko_files import RefusedError

        try:
            with self._operation(seconds, f"writing {target}") as session:
                self._files_of(session).store(chunks, target)
        except RefusedError as error:
            free = self._free_bytes(posixpath.dirname(target) or ".")
            if free is None or free >= n_bytes:
                raise
            text = f"{self.target}: no room for {target}: {n_bytes} bytes, of which {free} are free"
            raise TransportError(text, is_full=True) from error

    def _free_bytes(self, directory: str) -> int | None:
        """Ask how much room there is; None when nobody knows."""
        with contextlib.suppress(TransportError, ValueError, IndexError):
            said = self.run(["df", "-Pk", "--", directory], timeout_seconds=self._answer_seconds)
            return int(said.stdout.splitlines()[1].split()[3]) * 1024
        return None


def _chunks_of(file: IO[bytes], path: Path) -> Iterator[bytes]:
    while True:
        try:
            chunk = file.read(CHUNK_BYTES)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not chunk:
            return
        yield chunk


def _unreadable(path: Path, error: OSError) -> TransportError:
    return TransportError(f"{path} cannot be read: {error.strerror or error}")


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Callable[[bytes], None]]:
    """Give what writes a file here, which takes its place when the block is left in peace."""

    def failure(error: OSError) -> TransportError:
        return TransportError(f"{target} cannot be written: {error.strerror or error}")

    def write(chunk: bytes) -> None:
        try:
            file.write(chunk)
        except OSError as error:
            raise failure(error) from error

    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
    except OSError as error:
        raise failure(error) from error
    hidden = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield write
        hidden.replace(target)
    except OSError as error:
        raise failure(error) from error
    finally:
        hidden.unlink(missing_ok=True)
