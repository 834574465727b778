"""What runs on an instance, as a plain program in a HOME of its own, with real training."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ramp_engine.aws.program import build_program
from ramp_engine.bundle_archive import BundleArchive, write_tar
from ramp_engine.evaluation.host_place import HostError, Identity
from ramp_engine.evaluation.host_preparing import find_python
from ramp_engine.evaluation.left_outputs import LOG_HALF_BYTES
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.scenarios import estimator_source
from tests.aws.local_station import Host, end_all, new_home, pids_of, wait_until
from tests.gpu_nodes import stand_ins
from tests.open_environment import open_python

RUN = "17-2"
#: A user who is not the one of other tests.
OTHER_USER = "games"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes to another user")


def submission(code: str | Scenario) -> bytes:
    """Pack a submission which does something while it trains."""
    source = estimator_source(code if isinstance(code, Scenario) else Scenario.GOOD)
    if not isinstance(code, Scenario):
        lines = "\n".join(" " * 8 + line for line in code.splitlines())
        source = source.replace("        print('trained')", lines)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("estimator.py")
        member.size = len(source.encode())
        tar.addfile(member, io.BytesIO(source.encode()))
    return buffer.getvalue()


class Instance(Host):
    """A host on which the bundle is."""

    def __init__(self, home: Path, archive: BundleArchive) -> None:
        super().__init__(home)
        home.chmod(0o711)  # another user passes through it
        self.archive = archive
        self.put_bundle()
        self.prepared = self.prepare()

    def put_bundle(self) -> None:
        shutil.copy(self.archive.path, self.root / "incoming" / f"{self.archive.bundle.sha256}.tar")

    def prepare(self, **more: Any) -> dict[str, Any]:
        request = {"environment": {"python": str(open_python())}, "user": "nobody"}
        return self.ask("prepare", bundle=self.archive.bundle.to_json(), **(request | more))

    def start(self, code: str | Scenario, **more: Any) -> dict[str, Any]:
        sandbox = {key: self.prepared[key] for key in ("level", "uid", "gid")}
        sandbox |= {"read": [], "allow_network": False, "limits": {"log_mb": 1.0}}
        sandbox |= more.pop("sandbox", {})
        request = {"run": RUN, "python": self.prepared["python"], "folds": None, "n_threads": 1}
        request |= {"n_jobs": 1, "gpus": [], "timeout_seconds": 120.0, "orphan_seconds": 60.0}
        request |= {"bundle": self.archive.bundle.sha256, "sandbox": sandbox}
        sent = more.pop("sent", None) or self.send(submission(code))
        return self.ask("start", **(request | {"submission": sent} | more))

    def status(self, **more: Any) -> dict[str, Any]:
        return self.ask("status", run=RUN, **({"log_offset": 0} | more))

    def await_log(self, text: bytes) -> dict[str, Any]:
        said: list[dict[str, Any]] = []

        def has_come() -> bool:
            said.append(self.status())
            is_there = text in base64.b64decode(said[-1]["log"])
            assert is_there or said[-1]["state"] == "running", self.log()
            return is_there

        wait_until(has_come, f"{text!r} in the log")
        return said[-1]

    def await_end(self) -> dict[str, Any]:
        said: list[dict[str, Any]] = []

        def has_ended() -> bool:
            said.append(self.status())
            return bool(said[-1]["state"] == "ended")

        wait_until(has_ended, "the end of the run")
        return said[-1]

    def log(self) -> str:
        return (self.root / "runs" / RUN / "log").read_text(errors="replace")

    def pid_of(self, who: str) -> int:
        return int(json.loads((self.root / "runs" / RUN / "state").read_bytes())[who][0])


@pytest.fixture(scope="module")
def shared(archive: BundleArchive) -> Iterator[Instance]:
    with new_home() as home:
        yield Instance(home, archive)


@pytest.fixture
def instance(shared: Instance) -> Iterator[Instance]:
    """An instance with the bundle, and without runs."""
    yield shared
    shared.ask("wipe")
    end_all(shared.home / ".ramp" / "runs")
    for mark in (shared.root / "marks").iterdir():
        mark.unlink()
    assert pids_of(shared.home) == []


# The life of a run


def test_a_run_is_trained_told_of_packed_and_leaves_nothing_of_labels_or_itself(
    instance: Instance, toy_event: ToyEvent
) -> None:
    memory = "kept = np.ones(16 << 20)\nprint('trained', kept.sum())"
    assert instance.start(memory) == {"state": "running"}
    ended = instance.await_end()
    assert (ended["returncode"], ended["killed_by"]) == (0, None)
    assert sorted(ended["done"]) == [0, 1]
    assert instance.status(done=[0])["done"] == [1]
    assert base64.b64decode(instance.status(log_offset=3)["log"]).decode() == instance.log()[3:]
    assert instance.status(log_offset=None)["log"] == ""
    packed = instance.ask("pack", run=RUN, folds=[1], whole=True)
    parcel = instance.home / packed["file"]
    names = [name for name, _ in json.loads(parcel.read_bytes().split(b"\n")[0])]
    assert {"log", "private_log", "result.json", "output/fold_1/state.txt"} < set(names)
    assert not [name for name in names if "fold_0" in name]

    def files(folder: Path) -> set[Path]:
        return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}

    labels = files(toy_event.bundle_dir.parent / "labels") - files(toy_event.bundle_dir)
    assert Path("y_test.npy") in labels
    unpacked = instance.root / "bundles" / instance.archive.bundle.sha256
    assert files(unpacked) == files(toy_event.bundle_dir)
    assert not {path.name for path in labels} & {path.name for path in files(instance.home)}
    kept = instance.archive.bundle.sha256
    assert instance.ask("wipe", keep_bundles=[kept]) == {"is_clean": True, "left": []}
    assert instance.ask("hello")["bundles"] == [kept]
    assert pids_of(instance.home) == []


def test_a_run_goes_on_without_a_connection_shows_its_log_and_is_started_once(
    instance: Instance,
) -> None:
    instance.start(Scenario.HANGING)
    keeper = instance.pid_of("keeper")
    assert os.getsid(keeper) != os.getsid(0)
    assert instance.start(Scenario.HANGING) == {"state": "running"}
    assert instance.pid_of("keeper") == keeper
    assert instance.await_log(b"hanging")["state"] == "running"
    refused = instance.ask("pack", run=RUN, whole=True)["error"]
    assert "has not ended" in refused["message"]
    assert instance.ask("end", run=RUN) == {"gone": True}
    assert pids_of(instance.home) == []
    ended = instance.status()
    assert (ended["state"], ended["killed_by"]) == ("ended", signal.SIGTERM)
    assert "request" in ended["reason"]
    assert instance.start(Scenario.HANGING) == {"state": "ended"}


def test_what_nobody_knows_is_told(instance: Instance) -> None:
    assert instance.ask("status", run="other")["state"] == "unknown"
    assert instance.ask("end", run="other") == {"gone": True}
    for request in ({"op": "fly"}, {"op": "end", "run": "../x"}, {"op": "end"}, {"op": "pack"}):
        assert instance.ask(**request)["error"]["kind"] == "request"


def test_a_run_that_nobody_asks_about_ends_whatever_the_clock_says(instance: Instance) -> None:
    instance.start(Scenario.HANGING, orphan_seconds=3.0)
    asked = instance.root / "runs" / RUN / "asked"
    os.utime(asked, (4e9, 4e9))
    keeper = instance.pid_of("keeper")
    wait_until(lambda: not Path(f"/proc/{keeper}/fd").exists(), "the end of the keeper")
    ended = instance.status()
    assert ended["killed_by"] == signal.SIGTERM
    assert "nobody has asked" in ended["reason"]
    assert pids_of(instance.home) == []


@pytest.mark.parametrize("victims", [["keeper"], ["supervisor"], ["keeper", "supervisor"]])
def test_a_run_whose_keepers_are_killed_is_lost_and_leaves_no_process(
    instance: Instance, victims: list[str]
) -> None:
    instance.start(Scenario.HANGING, sandbox={"level": "none", "uid": None, "gid": None})
    instance.await_log(b"hanging")
    pids = [instance.pid_of(who) for who in victims]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    ended = instance.await_end()
    assert ended["killed_by"] == signal.SIGKILL
    assert ended["reason"]
    assert instance.ask("end", run=RUN) == {"gone": True}
    assert pids_of(instance.home) == []


def test_a_run_is_lost_when_the_machine_was_started_anew(instance: Instance) -> None:
    instance.start(Scenario.HANGING)
    instance.await_log(b"hanging")
    end_all(instance.home)
    alive = Identity.of(os.getpid()).to_json()
    state = {"keeper": [*alive[:2], "an-earlier-boot"], "supervisor": [*alive[:2], ""]}
    (instance.root / "runs" / RUN / "state").write_text(json.dumps(state))
    assert instance.status()["killed_by"] == signal.SIGKILL
    assert instance.ask("wipe")["is_clean"] is True
    assert pids_of(instance.home) == []


def test_a_gigabyte_of_log_takes_no_room(instance: Instance) -> None:
    instance.start("for _ in range(500):\n    os.write(1, b'x' * 999_999 + b'\\n')")
    instance.await_end()
    assert len(instance.log()) < 1_500_000
    (instance.root / "runs" / RUN / "log").write_bytes(b"y" * (2 * LOG_HALF_BYTES + 2_000_000))
    packed = instance.ask("pack", run=RUN, whole=True)
    assert 2 * LOG_HALF_BYTES < packed["n_bytes"] < 2 * LOG_HALF_BYTES + 1_000_000


# What it keeps from the fold, and what it leaves


@pytest.mark.parametrize("level", ["namespaces", "landlock", "none"])
def test_a_fold_reads_no_kit_of_the_image_where_it_is_confined(
    instance: Instance, level: str
) -> None:
    kit = instance.home / "ramp-kits" / "iris"
    kit.mkdir(parents=True, exist_ok=True)
    (kit / "labels.txt").write_text("the-labels")
    code = "from pathlib import Path\ntry:\n"
    code += f"    print(Path({str(kit / 'labels.txt')!r}).read_text())"
    code += "\nexcept OSError:\n    print('refused')"
    instance.start(code, sandbox={"level": level, **_who(level)})
    ended = instance.await_end()
    assert ended["returncode"] == 0, instance.log()
    is_confined = level != "none"
    assert ("refused" in instance.log()) == is_confined
    assert ("the-labels" in instance.log()) == (not is_confined)
    wiped = instance.ask("wipe")
    is_apart = level == "namespaces" or (is_confined and os.geteuid() == 0)
    assert wiped["is_clean"] == is_apart, wiped


def _who(level: str) -> dict[str, int | None]:
    """Say as whom a run goes on; a wipe ends all of that user on this machine, and no other's."""
    if level == "landlock" and os.geteuid() == 0:
        user = pwd.getpwnam(OTHER_USER)
        return {"uid": user.pw_uid, "gid": user.pw_gid}
    return {} if level == "namespaces" else {"uid": None, "gid": None}


@as_root
def test_a_wipe_ends_processes_and_removes_files_of_the_user_of_submissions(
    instance: Instance,
) -> None:
    user = pwd.getpwnam(OTHER_USER)
    assert instance.prepare(user=OTHER_USER)["uid"] == user.pw_uid
    left = Path("/dev/shm", f"ramp-left-{os.getpid()}")
    code = f"from pathlib import Path\nPath({str(left)!r}).touch()\n"
    code += "print('hanging', flush=True)\nimport time\ntime.sleep(600)"
    who = {"level": "landlock", "uid": user.pw_uid, "gid": user.pw_gid}
    instance.start(code, sandbox=who)
    try:
        instance.await_log(b"hanging")
        assert left.exists()
        assert instance.ask("wipe") == {"is_clean": True, "left": []}
        assert not left.exists()
    finally:
        left.unlink(missing_ok=True)
    assert pids_of(instance.home) == []
    assert instance.ask("hello")["runs"] == []


# What does not work


def test_what_comes_damaged_is_refused_and_asked_for_again(
    instance: Instance, tmp_path: Path
) -> None:
    assert instance.ask("wipe", keep_bundles=[])["is_clean"] is True
    assert instance.ask("hello")["bundles"] == []
    incoming = instance.root / "incoming" / f"{instance.archive.bundle.sha256}.tar"
    assert instance.prepare() == {"needs": True}
    incoming.write_bytes(instance.archive.path.read_bytes()[:-5000])
    assert instance.prepare()["error"]["kind"] == "bundle"
    assert instance.prepare() == {"needs": True}
    shutil.copy(instance.archive.path, incoming)
    assert instance.prepare()["needs"] is False
    for name, kind in (("../../escaped", tarfile.REGTYPE), ("link", tarfile.SYMTYPE)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        sent = instance.send(buffer.getvalue())
        refused = instance.start("pass", sent=sent)
        assert refused["error"]["kind"] == "request", name
    assert not (instance.root / "escaped").exists()
    assert instance.ask("hello")["runs"] == []


def test_a_full_disk_is_told_and_leaves_nothing_half(
    home: Path, archive: BundleArchive, small_disk: Callable[[Path, int], None]
) -> None:
    small_disk(home, 6 << 20)
    instance = Instance(home, archive)
    filler = home / "filler"
    sent = instance.send(submission("pass"))
    instance.start("print('trained')\nimport time; time.sleep(1)")
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    ended = instance.await_end()
    assert ended["disk_is_full"] is True
    assert instance.start("pass", run="second", sent=sent)["error"]["kind"] == "disk"
    assert instance.ask("hello")["runs"] == [RUN]
    filler.unlink()
    assert instance.ask("wipe")["is_clean"] is True


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, int], None]]:
    """Mount a small disk at a folder."""
    mount_program, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount_program is None or umount is None:
        pytest.skip("needs to mount a small disk")
    with contextlib.ExitStack() as stack:

        def mount(folder: Path, n_bytes: int) -> None:
            command = [mount_program, "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
            subprocess.run(command, check=True)
            stack.callback(subprocess.run, [umount, "-l", str(folder)], check=True)

        yield mount


def test_an_interpreter_is_found_by_path_prefix_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CONDA_EXE", raising=False)
    home = tmp_path / "miniforge3"
    for prefix in (home, home / "envs" / "iris"):
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin" / "python").symlink_to(sys.executable)
    base, iris = (prefix / "bin" / "python" for prefix in (home, home / "envs" / "iris"))
    assert find_python({"conda_env": "iris"}) == iris
    assert find_python({"conda_env": "base"}) == base
    assert find_python({"conda_env": "~/miniforge3/envs/iris"}) == iris
    assert find_python({"python": str(home)}) == base
    assert find_python({"python": str(iris)}) == iris
    assert find_python({}) == Path(sys.executable)
    with pytest.raises(HostError, match="did you mean 'iris'"):
        find_python({"conda_env": "irsi"})
    for missing in ("no-such-program", "/no/such/python"):
        with pytest.raises(HostError) as caught:
            find_python({"python": missing})
        assert caught.value.kind == "python"


def test_an_environment_without_ramp_workflow_and_a_user_who_is_not_there_are_told(
    instance: Instance,
) -> None:
    refused = instance.prepare(environment={"python": "/usr/bin/python3"})["error"]
    assert refused["kind"] == "python"
    assert "cannot import ramp-workflow" in refused["message"]
    missing = ["/no/such/folder"]
    assert "/no/such/folder" in instance.prepare(readable=missing)["error"]["message"]
    if os.geteuid() == 0:
        for user in ("nobody-at-all", "root"):
            refused = instance.prepare(user=user)["error"]
            assert (refused["kind"], user in refused["message"]) == ("sandbox", True)


# Notices


class _Metadata(BaseHTTPRequestHandler):
    """The metadata of an instance, for those who have a token."""

    tokens: ClassVar[list[str]] = []
    notice = ""

    def do_PUT(self) -> None:
        self.tokens.append(f"token-{len(self.tokens)}")
        self._answer(200, self.tokens[-1])

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != self.tokens[-1]:
            self._answer(401, "")
        else:
            self._answer(200 if self.notice else 404, self.notice)

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[tuple[type[_Metadata], str]]:
    class Handler(_Metadata):
        tokens: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Handler, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_notice_is_told_at_once_with_a_token_that_is_kept(
    home: Path, metadata: tuple[type[_Metadata], str]
) -> None:
    handler, endpoint = metadata
    host = Host(home)
    host.connection.environment["RAMP_INSTANCE_METADATA"] = endpoint
    host.ask("hello")
    assert [host.ask("status", run=RUN)["notice"] for _ in range(2)] == [None, None]
    assert len(handler.tokens) == 1
    handler.notice = '{"action": "terminate"}'
    assert host.ask("status", run=RUN)["notice"] == handler.notice
    handler.tokens.append("the former one holds no longer")
    assert host.ask("status", run=RUN)["notice"] == handler.notice
    assert len(handler.tokens) == 3


# The program


def test_the_same_files_make_the_same_program() -> None:
    first = build_program()
    build_program.cache_clear()
    assert build_program() == first
    assert first.file_name.startswith("program-")


def test_two_first_commands_at_once_unpack_one_program(home: Path) -> None:
    host = Host(home)
    answers: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(host.ask("hello"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    assert not list(host.root.glob(".unpacking-*"))


def test_links_are_left_out_of_what_is_sent(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "estimator.py").write_text("pass")
    (tmp_path / "folder" / "link").symlink_to("/etc/passwd")
    buffer = io.BytesIO()
    write_tar(tmp_path / "folder", buffer, follow_links=False)
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as tar:
        assert tar.getnames() == ["estimator.py"]


@as_root
def test_a_confined_fold_opens_the_gpus_of_its_run_and_no_other(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if instance.prepared["level"] != "namespaces":
        pytest.skip("this machine offers no namespaces")
    dev = stand_ins(tmp_path / "dev", "nvidia0", "nvidia1", "nvidiactl")
    monkeypatch.setitem(instance.connection.environment, "RAMP_INSTANCE_DEVICES", str(dev))
    assert instance.ask("hello")["facts"]["gpus"] == ["0", "1"]
    code = (
        f"seen = sorted(next(os.walk({str(dev)!r}))[2])\n"
        "print('seen', seen, os.environ['CUDA_VISIBLE_DEVICES'])\n"
        f"__import__('pathlib').Path({str(dev / 'nvidia1')!r}).write_bytes(b'x')"
    )
    refused = instance.start(f"import os\n{code}", gpus=["2"])
    assert refused["error"]["message"] == "the instance has no GPU 2"
    instance.start(f"import os\n{code}", gpus=["1"])
    assert instance.await_end()["returncode"] == 0, instance.log()
    assert "seen ['nvidia1', 'nvidiactl'] 0" in instance.log()
