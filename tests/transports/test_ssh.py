"""The SSH transport against a real sshd, which is broken in the ways that machines break."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ramp_engine.errors import (
    AuthenticationError,
    ConnectionLostError,
    HostKeyError,
    TransportError,
    WorkerSetupError,
)
from ramp_engine.testing.ssh_server import (
    SshServer,
    can_mount,
    free_port,
    make_login,
    requires_sshd,
)
from ramp_engine.transports.ssh import HostKey, SshConnection, SshTarget, check_private_key

pytestmark = [
    requires_sshd,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

#: What a machine that hangs is given here, in seconds.
SHORT = 1.0
#: Larger than what is on its way at once.
LARGE = 64 << 20
NOISE = random.Random(7).randbytes(1 << 20)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A machine that nothing happens to."""
    with SshServer(tmp_path_factory.mktemp("shared") / "machine") as server:
        yield server


@pytest.fixture(scope="module")
def host(shared: SshServer) -> Iterator[SshConnection]:
    with SshConnection(shared.target, [shared.host_key]) as connection:
        yield connection


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[SshServer]:
    """A machine that may be broken."""
    with SshServer(tmp_path / "machine") as server:
        yield server


@contextlib.contextmanager
def when(is_so: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """Do something, from a thread, as soon as something is so while the block runs."""
    is_over = threading.Event()
    done = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            if is_so():
                act()
                done.set()
                return
            is_over.wait(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    assert done.is_set()


def has_begun(directory: Path) -> Callable[[], bool]:
    """Tell whether a file is on its way into a directory."""

    def look() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return any(path.stat().st_size > 0 for path in directory.glob(".*.part"))
        return False

    return look


def sparse(path: Path, n_bytes: int) -> Path:
    with path.open("wb") as file:
        file.truncate(n_bytes)
    return path


class TestCommands:
    def test_a_word_stays_a_word(self, host: SshConnection) -> None:
        words = ["a b", "it's", '"$HOME"', "`id`", "*", "line\nline", "", "-n", "é", "\udcff"]
        done = host.run(["printf", "%s\\0", *words])
        assert done.stdout == b"".join(os.fsencode(word) + b"\0" for word in words)

    def test_it_starts_in_the_home_of_the_machine(
        self, shared: SshServer, host: SshConnection
    ) -> None:
        assert host.run(["pwd"]).stdout.decode().strip() == str(shared.home)

    @pytest.mark.parametrize(("script", "codes"), [("exit 7", {7}), ("kill -9 $$", {-1, 137})])
    def test_a_failure_is_told_by_its_exit_code(
        self, host: SshConnection, script: str, codes: set[int]
    ) -> None:
        done = host.run(["sh", "-c", f"echo out; echo trouble >&2; {script}"])
        assert (done.stdout, done.stderr) == (b"out\n", b"trouble\n")
        assert done.returncode in codes

    def test_bytes_go_in_and_come_out_of_both_streams_as_they_are(
        self, host: SshConnection
    ) -> None:
        assert host.run(["tee", "/dev/stderr"], NOISE).stderr == NOISE
        much = NOISE * 4  # more than the windows of a channel
        assert host.run(["cat"], much, max_bytes=len(much)).stdout == much

    def test_a_command_need_not_read_what_it_is_given(self, host: SshConnection) -> None:
        assert host.run(["true"], NOISE * 8).returncode == 0

    def test_one_that_prints_without_end_is_given_up(self, host: SshConnection) -> None:
        with pytest.raises(TransportError, match="yes printed more than 100000 bytes"):
            host.run(["yes"], max_bytes=100_000)
        assert host.run(["true"]).returncode == 0

    @pytest.mark.parametrize("script", ["sleep 1000", "exec >&- 2>&-; sleep 1000"])
    def test_one_that_never_ends_is_given_up_and_the_connection_goes_on(
        self, host: SshConnection, script: str
    ) -> None:
        with pytest.raises(TransportError, match=r"did not end within 0\.2 s") as caught:
            host.run(["sh", "-c", script], timeout_seconds=0.2)
        assert not isinstance(caught.value, ConnectionLostError)
        assert host.is_connected
        assert host.run(["true"]).returncode == 0

    @pytest.mark.parametrize("command", [[], ["a\0b"]])
    def test_no_command_is_a_mistake_of_the_caller(
        self, host: SshConnection, command: list[str]
    ) -> None:
        with pytest.raises(ValueError, match="no command"):
            host.run(command)

    def test_threads_share_a_connection(self, host: SshConnection) -> None:
        said: list[bytes] = []

        def talk(name: str) -> None:
            said.extend(host.run(["echo", name]).stdout for _ in range(5))

        threads = [threading.Thread(target=talk, args=(str(i),)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(said) == sorted(f"{i}\n".encode() for i in range(4) for _ in range(5))


class TestFiles:
    @pytest.mark.parametrize("name", ["plain", 'it\'s a "file" of $HOME; *', "-rf", "é\n"])
    def test_a_file_goes_there_and_back(
        self, shared: SshServer, host: SshConnection, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "source").write_bytes(NOISE + b"rest")
        host.put_bytes(b"former", name)
        host.put(tmp_path / "source", name)
        there = shared.home / name
        assert there.read_bytes() == NOISE + b"rest"
        assert there.stat().st_mode & 0o777 == 0o600
        digest = host.get(name, tmp_path / "back", max_bytes=2 << 20)
        assert digest == hashlib.sha256(NOISE + b"rest").hexdigest()
        assert (tmp_path / "back").read_bytes() == NOISE + b"rest"
        assert list(shared.home.glob(".*.part")) == list(tmp_path.glob(".*.part")) == []

    def test_an_empty_file_goes_there_and_back(self, host: SshConnection, tmp_path: Path) -> None:
        host.put_bytes(b"", "empty")
        assert host.get("empty", tmp_path / "empty", max_bytes=0) == hashlib.sha256().hexdigest()

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("link", "is a link, no regular file"),
            ("fifo", "is a FIFO, no regular file"),
            ("folder", "is a directory, no regular file"),
            ("missing", "No such file"),
            ("large", "has 1001 bytes, more than the 1000 allowed"),
        ],
    )
    def test_only_a_regular_file_of_an_allowed_size_is_fetched(
        self, shared: SshServer, host: SshConnection, tmp_path: Path, name: str, reason: str
    ) -> None:
        room = shared.home / tmp_path.name
        (room / "folder").mkdir(parents=True)
        (room / "large").write_bytes(bytes(1001))
        (room / "link").symlink_to("/etc/hostname")
        os.mkfifo(room / "fifo")
        (tmp_path / "target").write_text("former")
        with pytest.raises(TransportError, match=reason):
            host.get(f"{tmp_path.name}/{name}", tmp_path / "target", max_bytes=1000)
        assert [path.name for path in tmp_path.iterdir()] == ["target"]
        assert (tmp_path / "target").read_text() == "former"

    @pytest.mark.parametrize("n_bytes", [0, LARGE - 1, LARGE + 1])
    def test_a_file_that_changes_while_it_is_read_is_not_taken(
        self, shared: SshServer, host: SshConnection, tmp_path: Path, n_bytes: int
    ) -> None:
        file = sparse(shared.home / "changing", LARGE)
        with (
            when(has_begun(tmp_path), lambda: os.truncate(file, n_bytes)),
            pytest.raises(TransportError, match="changed while it was read"),
        ):
            host.get("changing", tmp_path / "target", max_bytes=1 << 30)
        assert list(tmp_path.iterdir()) == []
        assert host.run(["true"]).returncode == 0

    def test_what_cannot_be_written_or_read_is_told_and_nothing_is_left(
        self, shared: SshServer, host: SshConnection, tmp_path: Path
    ) -> None:
        (shared.home / "occupied").mkdir()
        with pytest.raises(TransportError, match=r"writing no/where failed: No such file"):
            host.put_bytes(b"x", "no/where")
        with pytest.raises(TransportError, match="writing occupied failed") as caught:
            host.put_bytes(b"x", "occupied")
        assert not caught.value.is_full
        with pytest.raises(TransportError, match="nothing cannot be read: No such file"):
            host.put(tmp_path / "nothing", "target")
        host.put_bytes(b"x", "there")
        with pytest.raises(TransportError, match="target cannot be written: No such file"):
            host.get("there", tmp_path / "no" / "target", max_bytes=9)
        assert list(shared.home.glob(".*.part")) == []

    @pytest.mark.skipif(not can_mount(), reason="a small disk needs the right to mount (root)")
    def test_a_full_disk_is_told_and_nothing_is_left(self, tmp_path: Path) -> None:
        with (
            SshServer(tmp_path / "machine", disk_kb=2048) as machine,
            SshConnection(machine.target) as host,
        ):
            host.put_bytes(NOISE, "first")
            with pytest.raises(TransportError, match="no room for second: 3145728 bytes") as caught:
                host.put_bytes(NOISE * 3, "second")
            assert caught.value.is_full
            assert [path.name for path in machine.home.iterdir()] == ["first"]
            host.put_bytes(NOISE[:500_000], "second")
            assert (machine.home / "second").read_bytes() == NOISE[:500_000]


class TestLogin:
    def test_a_key_that_is_not_authorized_is_refused(
        self, shared: SshServer, tmp_path: Path
    ) -> None:
        other = make_login(tmp_path / "other")
        target = replace(shared.target, key_path=other.key_path)
        with pytest.raises(AuthenticationError) as caught:
            SshConnection(target).connect()
        for part in (target.user, f"127.0.0.1:{target.port}", str(other.key_path)):
            assert part in str(caught.value)
        assert not caught.value.is_retryable

    def test_a_user_that_is_unknown_is_refused(self, shared: SshServer) -> None:
        with pytest.raises(AuthenticationError, match="'nobody-of-this-name'"):
            SshConnection(replace(shared.target, user="nobody-of-this-name")).connect()

    @pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
    def test_keys_of_other_kinds_do_too(self, tmp_path: Path, kind: str) -> None:
        login = make_login(tmp_path / "login", kind)
        with SshServer(tmp_path / "machine", login=login) as machine:
            machine.stop()
            machine.change_host_key(kind)
            machine.start()
            with SshConnection(machine.target, [machine.host_key]) as host:
                assert host.run(["true"]).returncode == 0

    def test_a_private_key_that_will_not_do_is_told(self, tmp_path: Path) -> None:
        good = make_login(tmp_path / "good").key_path
        check_private_key(good)
        text = good.read_text()
        assert_refused(tmp_path / "missing", "No such file")
        assert_refused(tmp_path, "is no file")
        good.chmod(0o640)
        assert_refused(good, rf"open to others \(mode 0640\)\. chmod 400 {good}$")
        public = good.with_suffix(".pub")
        public.chmod(0o400)
        assert_refused(public, f"It is a public key: name the other half, {good}")
        for name, content in {"garbage": "hello", "empty": "", "cut": text[:200]}.items():
            path = tmp_path / name
            path.write_text(content)
            path.chmod(0o600)
            assert_refused(path, "is no private key")

    @pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
    def test_an_encrypted_private_key_is_told(self, tmp_path: Path, form: str) -> None:
        path = make_login(tmp_path / "key", "rsa").key_path
        command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-m", form, "-f", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert_refused(path, "is encrypted")

    def test_paramiko_that_is_missing_is_told(
        self, shared: SshServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "paramiko", None)
        with pytest.raises(WorkerSetupError, match=r"pip install 'ramp-engine\[aws\]'"):
            SshConnection(shared.target).connect()


def assert_refused(path: Path, reason: str) -> None:
    with pytest.raises(WorkerSetupError, match=reason):
        check_private_key(path)


class TestHostKeys:
    def test_a_host_with_another_key_is_not_logged_in_to(self, machine: SshServer) -> None:
        expected = machine.host_key
        machine.stop()
        machine.change_host_key()
        machine.start()
        host = SshConnection(machine.target, [expected])
        with pytest.raises(HostKeyError) as caught:
            host.connect()
        assert expected.fingerprint in str(caught.value)
        assert machine.host_key.fingerprint in str(caught.value)
        assert not caught.value.is_retryable
        assert not host.is_connected
        assert host.host_key is None
        assert "Accepted" not in machine.log

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
    def test_the_first_key_is_kept_and_another_refused_at_a_reconnect(
        self, machine: SshServer, kind: str
    ) -> None:
        with SshConnection(machine.target) as host:
            assert host.host_key == machine.host_key
            host.connect()
            machine.stop()
            machine.change_host_key(kind)
            machine.start()
            for _ in range(2):
                with pytest.raises(HostKeyError):
                    host.connect()

    def test_the_host_is_asked_for_the_kind_of_key_that_is_known(self, machine: SshServer) -> None:
        """The list may be long, as in a console's output; the host has several."""
        second = make_login(machine.directory / "second", "rsa")
        machine.stop()
        machine.extra_config = f"HostKey {second.key_path}"
        machine.start()
        known = [HostKey.parse(second.public), HostKey("ssh-dss", "AAAA")]
        with SshConnection(machine.target, known) as host:
            assert host.host_key == known[0]

    def test_a_host_key_is_read_and_written_as_in_a_pub_file(self, shared: SshServer) -> None:
        line = (shared.directory / "host_key.pub").read_text()
        key = HostKey.parse(line)
        assert str(key) == " ".join(line.split()[:2])
        command = ["ssh-keygen", "-l", "-f", str(shared.directory / "host_key.pub")]
        said = subprocess.run(command, check=True, capture_output=True, text=True)
        assert key.fingerprint == said.stdout.split()[1]

    @pytest.mark.parametrize("line", ["", "ssh-rsa", "ssh-rsa AAAA!", "ssh-rsa AAAAC3NzaC1lZA=="])
    def test_what_is_no_host_key_is_refused(self, line: str) -> None:
        with pytest.raises(ValueError, match="no host key"):
            HostKey.parse(line)


@contextlib.contextmanager
def speaking(greeting: bytes | None) -> Iterator[SshTarget]:
    """Accept one connection after another and say something; say nothing for None."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    accepted.append(connection)
                    if greeting is not None:
                        connection.sendall(greeting)
                        connection.shutdown(socket.SHUT_RDWR)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield SshTarget("127.0.0.1", "user", Path("/unset"), listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in accepted:
                connection.close()


class TestBrokenConnections:
    def test_nobody_listens(self, shared: SshServer) -> None:
        target = replace(shared.target, port=free_port("127.0.0.1"))
        with pytest.raises(ConnectionLostError, match="Connection refused") as caught:
            SshConnection(target).connect()
        assert caught.value.is_retryable

    def test_no_such_host(self, shared: SshServer) -> None:
        for name in ("nowhere.invalid", "a" * 70 + ".invalid"):
            with pytest.raises(ConnectionLostError, match="no connection"):
                SshConnection(replace(shared.target, host=name)).connect()

    @pytest.mark.parametrize(
        "greeting", [None, b"", b"HTTP/1.1 400\r\n\r\n", b"SSH-2.0-x\r\n" + NOISE[:4000]]
    )
    def test_what_answers_is_no_sshd(self, shared: SshServer, greeting: bytes | None) -> None:
        with speaking(greeting) as place:
            target = replace(shared.target, port=place.port)
            with pytest.raises(ConnectionLostError, match="the login failed"):
                SshConnection(target, connect_seconds=SHORT).connect()

    def test_a_machine_that_hangs_before_the_login(self, machine: SshServer) -> None:
        machine.freeze()
        host = SshConnection(machine.target, connect_seconds=SHORT)
        with pytest.raises(ConnectionLostError, match=r"the login failed: no answer within 1 s"):
            host.connect()
        machine.thaw()
        host = SshConnection(machine.target)
        host.connect()
        host.close()

    def test_a_machine_that_hangs_in_mid_command_and_comes_back(self, machine: SshServer) -> None:
        with SshConnection(machine.target, answer_seconds=SHORT) as host:
            started = machine.home / "started"
            command = ["sh", "-c", "touch started; sleep 1000"]
            with (
                when(started.exists, machine.freeze),
                pytest.raises(ConnectionLostError, match="no answer for 1 s while sh -c"),
            ):
                host.run(command)
            assert not host.is_connected
            machine.thaw()
            host.connect()
            assert host.run(["echo", "back"]).stdout == b"back\n"

    def test_a_machine_that_hangs_between_commands(self, machine: SshServer) -> None:
        with SshConnection(machine.target, answer_seconds=SHORT) as host:
            host.put_bytes(b"x", "file")
            machine.freeze()
            with pytest.raises(ConnectionLostError):
                host.run(["true"])
            with pytest.raises(ConnectionLostError, match="not connected"):
                host.run(["true"])

    def test_a_machine_that_hangs_in_mid_transfer(self, machine: SshServer, tmp_path: Path) -> None:
        source = sparse(tmp_path / "source", LARGE)
        sparse(machine.home / "there", LARGE)
        room = tmp_path / "room"
        room.mkdir()
        with SshConnection(machine.target, answer_seconds=SHORT) as host:
            with (
                when(has_begun(machine.home), machine.freeze),
                pytest.raises(ConnectionLostError, match="writing target failed: no answer"),
            ):
                host.put(source, "target")
            machine.thaw()
            host.connect()
            with (
                when(has_begun(room), machine.freeze),
                pytest.raises(ConnectionLostError, match="reading there failed: no answer for 1 s"),
            ):
                host.get("there", room / "there", max_bytes=LARGE)
            assert not (machine.home / "target").exists()
            assert list(room.iterdir()) == []
            machine.thaw()

    def test_a_transfer_that_takes_too_long_is_given_up(
        self, shared: SshServer, tmp_path: Path
    ) -> None:
        sparse(shared.home / "slow", 4 * LARGE)
        with SshConnection(shared.target) as host:
            with pytest.raises(ConnectionLostError, match=r"no answer within 0\.05 s"):
                host.get("slow", tmp_path / "slow", max_bytes=4 * LARGE, timeout_seconds=0.05)
            assert list(tmp_path.iterdir()) == []

    def test_a_connection_that_drops_in_mid_command(
        self, machine: SshServer, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with SshConnection(machine.target) as host:
            started = machine.home / "started"
            with (
                when(started.exists, machine.drop),
                pytest.raises(ConnectionLostError, match="touch started"),
            ):
                host.run(["sh", "-c", "touch started; sleep 1000"])
            with pytest.raises(ConnectionLostError, match="not connected"):
                host.put_bytes(b"x", "file")
            host.connect()
            assert host.run(["echo", "back"]).stdout == b"back\n"
        assert capfd.readouterr().err == ""

    def test_a_connection_that_drops_in_mid_transfer(
        self, machine: SshServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        sparse(machine.home / "there", LARGE)
        with SshConnection(machine.target) as host:
            with (
                when(has_begun(tmp_path), machine.drop),
                pytest.raises(ConnectionLostError, match="reading there"),
            ):
                host.get("there", tmp_path / "there", max_bytes=LARGE)
            machine.restart()
            host.connect()
            host.put_bytes(b"again", "here")
            assert host.get("here", tmp_path / "here", max_bytes=9)
        assert capfd.readouterr().err == ""

    def test_close_ends_what_another_thread_waits_for(self, machine: SshServer) -> None:
        with SshConnection(machine.target) as host:
            started = machine.home / "started"

            def close_while_it_hangs() -> None:
                machine.freeze()
                begun_at = time.monotonic()
                host.close()
                assert time.monotonic() - begun_at < 10

            with when(started.exists, close_while_it_hangs), pytest.raises(ConnectionLostError):
                host.run(["sh", "-c", "touch started; sleep 1000"], timeout_seconds=600)
            host.close()
            machine.thaw()

    @pytest.mark.parametrize(
        "line",
        ["ForceCommand echo 'Welcome to this machine!'; sleep 1000", "ForceCommand true"],
    )
    def test_a_login_without_sftp_is_told_and_the_connection_goes_on(
        self, machine: SshServer, line: str
    ) -> None:
        """A start-up file of the login that prints something spoils every transfer."""
        machine.stop()
        machine.extra_config = line
        machine.start()
        with SshConnection(machine.target) as host:
            with pytest.raises(TransportError, match=r"does not speak SFTP: .* start-up file"):
                host.put_bytes(b"x", "file")
            assert host.is_connected
