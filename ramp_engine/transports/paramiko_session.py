"""One connection by paramiko: greeting, login, commands. Imported when a connection is wanted.

paramiko has waits without a time limit (a write into a full socket, the answer to a request), so
whatever is done here is done under a `Watchdog` that ends the session.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Collection, Iterator

import paramiko
from paramiko.sftp import SFTPError

from ramp_engine.errors import (
    AuthenticationError,
    ConnectionLostError,
    HostKeyError,
    TransportError,
)
from ramp_engine.transports.commands import Completed, shortened
from ramp_engine.transports.endpoints import SshTarget
from ramp_engine.transports.host_keys import HostKey
from ramp_engine.transports.watchdog import Watchdog

__all__ = ["FOREIGN", "Session"]

#: What paramiko raises when a connection breaks, or the other end speaks nonsense.
FOREIGN = (
    paramiko.SSHException, SFTPError, EOFError, OSError, ValueError, TypeError, IndexError,
    struct.error,
)  # fmt: skip
#: How often a sign of life is sent, in seconds: routers forget connections that are silent.
KEEPALIVE_SECONDS = 30
#: Where paramiko logs: what it says at a failure is told by our errors, without its traceback.
LOG_NAME = f"{__name__}.log"
#: The algorithms of a kind of host key that are not named as the kind is.
ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


class Session:
    """A connection to a host, from dialling to the end.

    Parameters
    ----------
    target : SshTarget
        Where to.
    connect_seconds : float
        How long dialling may take.
    answer_seconds : float
        A host that answers nothing for so long is gone.

    Raises
    ------
    ConnectionLostError
        Nobody answers there.
    """

    def __init__(self, target: SshTarget, connect_seconds: float, answer_seconds: float) -> None:
        self.target = target
        self.answer_seconds = answer_seconds
        self._socket = _dial(target, connect_seconds)
        self.transport = paramiko.Transport(self._socket)
        self._prepare(connect_seconds)

    def _prepare(self, connect_seconds: float) -> None:
        logging.getLogger(LOG_NAME).setLevel(logging.CRITICAL)
        self.transport.set_log_channel(LOG_NAME)
        patience = connect_seconds + self.answer_seconds  # the watchdog is there before
        self.transport.banner_timeout = patience
        self.transport.handshake_timeout = patience
        self.transport.auth_timeout = patience
        self.transport.channel_timeout = self.answer_seconds

    @property
    def is_active(self) -> bool:
        """Whether the connection is not known to be broken."""
        return self.transport.is_active()

    def end(self) -> None:
        """Close the connection, without a word to the other end; never blocks."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.transport.close()
        self._socket.close()

    @contextlib.contextmanager
    def time_limit(self, seconds: float, doing: str) -> Iterator[None]:
        """Bound a block, and raise from ours what paramiko raises in it."""
        with Watchdog(seconds, self.end) as watchdog:
            try:
                yield
            except FOREIGN as error:
                raise self._failure(doing, error, watchdog) from error

    def _failure(self, doing: str, error: Exception, watchdog: Watchdog) -> TransportError:
        if isinstance(error, paramiko.ChannelException) and self.is_active:
            return TransportError(f"{self.target} refuses {doing}: {error}")
        self.end()
        if watchdog.has_expired:
            text = f"no answer within {watchdog.seconds:g} s"
        elif isinstance(error, TimeoutError):
            text = f"no answer for {self.answer_seconds:g} s"
        else:
            text = str(error).rstrip(" :") or "the connection was closed"
        return ConnectionLostError(f"{self.target}: {doing} failed: {text}")

    def greet(self, expected: Collection[HostKey]) -> HostKey:
        """Agree on keys, and see that the host is one of those expected (any, when none is).

        Raises
        ------
        HostKeyError
            It is another.
        """
        options = self.transport.get_security_options()
        wanted = {name for key in expected for name in ALGORITHMS.get(key.kind, (key.kind,))}
        options.key_types = sorted(options.key_types, key=lambda name: name not in wanted)
        self.transport.start_client()
        shown = self.transport.get_remote_server_key()
        key = HostKey.of(shown.get_name(), shown.asbytes())
        if expected and key not in expected:
            self.end()
            known = [f"{item.kind} {item.fingerprint}" for item in expected]
            raise HostKeyError(self.target.place, f"{key.kind} {key.fingerprint}", known)
        return key

    def log_in(self, key: paramiko.PKey) -> None:
        """Show who we are.

        Raises
        ------
        AuthenticationError
            The host refuses the key, or wants more than a key.
        """
        try:
            missing = self.transport.auth_publickey(self.target.user, key)
        except paramiko.AuthenticationException as error:
            if not self.is_active:
                raise  # it broke, or took too long
            raise self._refusal(str(error).rstrip(".")) from error
        if missing:
            raise self._refusal(f"it also wants {' or '.join(missing)}")
        self.transport.set_keepalive(KEEPALIVE_SECONDS)

    def _refusal(self, reason: str) -> AuthenticationError:
        self.end()
        target = self.target
        return AuthenticationError(target.user, target.place, str(target.key_path), reason)

    def answers(self) -> bool:
        """Ask for a sign of life; ends the session when none comes."""
        with Watchdog(self.answer_seconds, self.end), contextlib.suppress(*FOREIGN):
            self.transport.global_request("keepalive@openssh.com", wait=True)
        return self.is_active

    def open_channel(self) -> paramiko.Channel:
        """Open a channel, whose reads and writes do not wait longer than an answer may take."""
        channel = self.transport.open_session(timeout=self.answer_seconds)
        channel.settimeout(self.answer_seconds)
        return channel

    def execute(self, line: bytes, stdin: bytes, seconds: float, max_bytes: int) -> Completed:
        """Run a command to its end; raises as `SshConnection.run` does."""
        ends_at = time.monotonic() + seconds
        with self.open_channel() as channel:
            output = _Output(channel, max_bytes)
            channel.exec_command(line)
            writer = _start_writer(channel, stdin)
            try:
                while not output.has_ended:
                    self._wait(output, ends_at, line, seconds)
            finally:
                channel.close()
                writer.join()
            return output.completed()

    def _wait(self, output: _Output, ends_at: float, line: bytes, seconds: float) -> None:
        """Wait for something new; raises when the time is up or the host is gone."""
        if output.take():
            if output.is_too_long:
                raise TransportError(
                    f"{self.target}: {shortened(line)} printed more than {output.max_bytes} bytes"
                )
            return
        left = ends_at - time.monotonic()
        if left > 0 and output.wait(min(left, self.answer_seconds)):
            return
        if not self.answers():
            silence = f"no answer for {self.answer_seconds:g} s"
            raise ConnectionLostError(f"{self.target}: {silence} while {shortened(line)} ran")
        if time.monotonic() >= ends_at:
            raise TransportError(
                f"{self.target}: {shortened(line)} did not end within {seconds:g} s",
                "It may run on there",
            )


class _Output:
    """What a command prints, taken as it comes; paramiko's thread says when there is more."""

    def __init__(self, channel: paramiko.Channel, max_bytes: int) -> None:
        self._channel = channel
        self.max_bytes = max_bytes
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._is_at_end = False
        self._news = threading.Event()
        channel.in_buffer.set_event(self._news)
        channel.in_stderr_buffer.set_event(self._news)

    @property
    def is_too_long(self) -> bool:
        return len(self._stdout) + len(self._stderr) > self.max_bytes

    @property
    def has_ended(self) -> bool:
        return self._is_at_end and self._channel.status_event.is_set()

    def take(self) -> bool:
        """Take what is there; says whether there was anything.

        Only a pass that takes nothing may be followed by a wait: taking clears the event.
        """
        is_last = bool(self._channel.eof_received or self._channel.closed)
        before = len(self._stdout) + len(self._stderr)
        if self._channel.recv_ready():
            self._stdout += self._channel.recv(1 << 18)
        if self._channel.recv_stderr_ready():
            self._stderr += self._channel.recv_stderr(1 << 18)
        took = len(self._stdout) + len(self._stderr) > before
        self._is_at_end = is_last and not took
        return took

    def wait(self, seconds: float) -> bool:
        """Wait for more, or for the exit code after the last."""
        event = self._channel.status_event if self._is_at_end else self._news
        return event.wait(seconds)

    def completed(self) -> Completed:
        if not self._channel.eof_received and self._channel.exit_status == -1:
            raise EOFError("the connection was closed")
        return Completed(self._channel.exit_status, bytes(self._stdout), bytes(self._stderr))


def _start_writer(channel: paramiko.Channel, stdin: bytes) -> threading.Thread:
    """Feed a command from a thread: one that prints before it has read all would wait for ever."""

    def feed() -> None:
        with contextlib.suppress(*FOREIGN):  # it ended without reading: its exit code tells
            channel.settimeout(None)
            channel.sendall(stdin)
            channel.shutdown_write()

    writer = threading.Thread(target=feed, name="ssh-stdin", daemon=True)
    writer.start()
    return writer


def _dial(target: SshTarget, seconds: float) -> socket.socket:
    try:
        connection = socket.create_connection((target.host, target.port), timeout=seconds)
    except TimeoutError as error:
        raise ConnectionLostError(f"{target}: nobody answers within {seconds:g} s") from error
    except (OSError, ValueError) as error:  # a name that no resolver takes is a ValueError
        text = getattr(error, "strerror", None) or str(error)
        raise ConnectionLostError(f"{target}: no connection: {text}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
