"""Step servers: what is forked from them is as alone and as mortal as what starts cold."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from ramp_engine.evaluation import supervise
from ramp_engine.evaluation.preload import find_imports, preload
from ramp_engine.fold_process import FoldRun, fold_servers
from ramp_engine.step_server import StepCall, StepServer
from ramp_engine.step_servers import MAX_FAILURES, StepServers
from tests.integration.presence import PATIENCE_SECONDS
from tests.kits.evaluation import Event, light_event
from tests.open_environment import open_python

#: Who runs submissions at the strongest level.
SANDBOX = {"level": "namespaces", **({"uid": 65534, "gid": 65534} if os.geteuid() == 0 else {})}

#: A submission that does something in its training and something in its predictions.
ESTIMATOR = """
import builtins, json, os, random, sys, time
import numpy as np

class Model:
    def fit(self, X, y):
        {fit}
        return self

    def predict_proba(self, X):
        y_pred = np.full((len(X), 3), 1 / 3)
        {predict}
        return y_pred

def get_estimator():
    return Model()
"""


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    event = light_event(tmp_path_factory.mktemp("event"))
    assert event.prepare().code == 0
    return event


@pytest.fixture(scope="module")
def servers(event: Event) -> Iterator[StepServers]:
    with fold_servers(open_python(), event.root / "scratch", 1, SANDBOX) as servers:
        _ready(servers, event)
        yield servers


def _ready(servers: StepServers, event: Event) -> StepServer:
    server = servers.prepare(event.bundle / "public")
    assert server is not None
    assert server.wait(PATIENCE_SECONDS), server.last_words
    return server


class Lane:
    """Where submissions are run one after the other, at one level of confinement."""

    def __init__(self, event: Event, root: Path, level: str = "none") -> None:
        self.event = event
        self.root = root
        self.level = level
        self.runs: list[FoldRun] = []

    def start(self, servers: StepServers | None, fit: str = "pass", predict: str = "pass") -> None:
        """Start a submission that does this."""
        submission = self.root / f"submission_{len(self.runs)}"
        submission.mkdir()
        (submission / "estimator.py").write_text(dedent(ESTIMATOR).format(fit=fit, predict=predict))
        self.submit(servers, submission)

    def submit(self, servers: StepServers | None, submission: Path, **options: float) -> None:
        run = FoldRun(open_python(), self.root)
        self.runs.append(run)
        sandbox: dict[str, object] = {"level": self.level}
        if self.level != "none" and os.geteuid() == 0:
            sandbox |= {"uid": 65534, "gid": 65534}
        self.ended = threading.Event()
        run.start(
            bundle=self.event.bundle / "public",
            submission=submission,
            n_threads=1,
            sandbox=sandbox,
            gpus=("7",),
            timeout_seconds=options.get("timeout_seconds", PATIENCE_SECONDS),
            on_end=self.ended.set,
            servers=servers,
        )
        assert run.is_warm is (servers is not None)

    def finish(self) -> tuple[int | None, str]:
        """Wait for the end of the last run; give its exit code and its log."""
        assert self.ended.wait(PATIENCE_SECONDS)
        run = self.runs[-1]
        return run.returncode, run.scratch.log.read_text(errors="replace")

    def run(self, servers: StepServers | None, fit: str = "pass", predict: str = "pass") -> str:
        """Run a submission to its end; give its log."""
        self.start(servers, fit, predict)
        code, log = self.finish()
        assert code == 0, log
        return log


@pytest.fixture
def make_lane(event: Event, tmp_path: Path) -> Iterator[Callable[..., Lane]]:
    lanes: list[Lane] = []

    def make(level: str = "none") -> Lane:
        root = tmp_path / f"lane_{len(lanes)}"
        root.mkdir()
        lanes.append(Lane(event, root, level))
        return lanes[-1]

    yield make
    for lane in lanes:
        for run in lane.runs:
            assert run.end()
            run.remove()


@pytest.fixture
def lane(make_lane: Callable[..., Lane]) -> Lane:
    return make_lane()


@pytest.mark.parametrize("level", ["none", "namespaces"])
def test_a_warm_run_leaves_what_a_cold_one_does(
    servers: StepServers, event: Event, make_lane: Callable[..., Lane], level: str
) -> None:
    outputs = []
    for which in (None, servers):
        lane = make_lane(level)
        submission = lane.root / "submission"
        shutil.copytree(event.kit / "submissions/starting_kit", submission)
        lane.submit(which, submission)
        code, log = lane.finish()
        assert code == 0, log
        outputs.append(lane.runs[-1].scratch.output)
    cold, warm = outputs
    files = sorted(path.relative_to(cold) for path in cold.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(warm) for path in warm.rglob("*") if path.is_file())
    predictions = [path for path in files if path.suffix == ".npz"]
    assert len(predictions) == 4
    for path in predictions:
        with np.load(cold / path) as one, np.load(warm / path) as other:
            np.testing.assert_array_equal(one["y_pred"], other["y_pred"])


def test_nothing_of_one_submission_is_seen_by_the_next(servers: StepServers, lane: Lane) -> None:
    lane.run(
        servers,
        "builtins.MARK = 'left'; np.MARK = 'left'; os.environ['MARK'] = 'left'; "
        "sys.modules['mark'] = sys; sys.path.append('/mark'); np.mean = None; os.umask(0o777)",
    )
    log = lane.run(
        servers,
        "print('SEES', hasattr(builtins, 'MARK'), hasattr(np, 'MARK'), 'MARK' in os.environ, "
        "'mark' in sys.modules, '/mark' in sys.path, np.mean is None, os.umask(0o22))",
    )
    assert log.count(f"SEES False False False False False False {0o22}") == 2


def test_randomness_is_fresh_in_each_fold(servers: StepServers, lane: Lane) -> None:
    code = "print('DRAWN', random.random(), np.random.rand(), np.random.default_rng().random())"
    lines = [line for _ in range(2) for line in lane.run(servers, code).splitlines()]
    numbers = [number for line in lines if "DRAWN" in line for number in line.split()[1:]]
    assert len(numbers) == len(set(numbers)) == 2 * 2 * 3


def test_signals_mean_to_a_warm_run_what_they_mean_to_a_cold_one(
    servers: StepServers, make_lane: Callable[..., Lane]
) -> None:
    code = (
        "import signal; print('SIGNALS', [str(signal.getsignal(number)) for number in "
        "sorted(signal.valid_signals()) if number < 32], sorted(signal.pthread_sigmask(0, [])))"
    )
    warm, cold = (make_lane().run(which, code).splitlines() for which in (servers, None))
    (told, *_) = [line for line in warm if line.startswith("SIGNALS")]
    assert told in cold


def test_a_run_has_an_environment_of_its_own(servers: StepServers, lane: Lane) -> None:
    log = lane.run(servers, "print(json.dumps(dict(os.environ)))")
    environment = json.loads(next(line for line in log.splitlines() if line.startswith("{")))
    assert environment["CUDA_VISIBLE_DEVICES"] == "7"
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["HOME"].startswith(str(lane.runs[-1].scratch.root))
    assert environment["TMPDIR"].startswith(str(lane.runs[-1].scratch.tmp))


def test_a_run_inherits_no_descriptor_of_the_server(servers: StepServers, lane: Lane) -> None:
    log = lane.run(
        servers,
        "print('OPEN', [os.readlink(f'/proc/self/fd/{n}') for n in range(3, 64) "
        "if os.path.exists(f'/proc/self/fd/{n}')])",
    )
    for line in log.splitlines():
        assert "socket" not in line or not line.startswith("OPEN"), line


def test_the_time_limit_ends_a_warm_run(servers: StepServers, lane: Lane, tmp_path: Path) -> None:
    submission = tmp_path / "sleeper"
    submission.mkdir()
    (submission / "estimator.py").write_text(
        ESTIMATOR.format(fit="print('asleep', flush=True); time.sleep(600)", predict="pass")
    )
    for seconds in (2, 10, 60):  # a later one where the machine was too slow for it
        lane.submit(servers, submission, timeout_seconds=float(seconds))
        code, log = lane.finish()
        assert code == 124
        if "asleep" in log:
            break
    assert "asleep" in log
    assert f"time limit of {seconds} s exceeded" in log


def _start_sleeper(lane: Lane, servers: StepServers) -> int:
    """Start a submission that hangs; give the pid of its supervisor."""
    lane.start(servers, "print('asleep', flush=True); time.sleep(600)")
    never = threading.Event()
    run = lane.runs[-1]
    while "asleep" not in run.scratch.log.read_text():
        assert not lane.ended.is_set(), run.scratch.log.read_text()
        never.wait(0.02)
    assert run.process is not None
    return run.process.pid


def test_a_warm_run_ends_when_it_is_told_to(servers: StepServers, lane: Lane) -> None:
    _start_sleeper(lane, servers)
    assert lane.runs[-1].end()
    assert lane.finish()[0] == 128 + signal.SIGTERM


def test_the_death_of_a_supervisor_is_told(servers: StepServers, lane: Lane) -> None:
    pid = _start_sleeper(lane, servers)
    os.kill(pid, signal.SIGKILL)
    assert lane.ended.wait(PATIENCE_SECONDS)
    process = lane.runs[-1].process
    assert process is not None
    assert (process.killed_by, process.returncode) == (signal.SIGKILL, 137)


def test_another_server_is_started_when_one_has_died(
    event: Event, make_lane: Callable[..., Lane], tmp_path: Path
) -> None:
    with fold_servers(open_python(), tmp_path / "scratch", 1, SANDBOX) as servers:
        server = _ready(servers, event)
        lane = make_lane()
        lane.run(servers)
        os.kill(server.pid, signal.SIGKILL)
        while not server.has_failed:
            threading.Event().wait(0.02)
        bundle = event.bundle / "public"
        other = servers.prepare(bundle)
        assert other is not server
        assert other is not None
        assert other.wait(PATIENCE_SECONDS), other.last_words
        lane.run(servers)
    assert list((tmp_path / "scratch").iterdir()) == []


def _unused_call(folder: Path) -> StepCall:
    return StepCall(["--help"], (folder / "log").open("wb"), {}, folder, 60.0, 1.0, (), print)


def test_a_server_that_does_not_answer_is_given_up_and_its_runs_go_on(
    event: Event, lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = event.bundle / "public"
    kept = tmp_path / "used_by_who_started_cold"
    kept.mkdir()
    with fold_servers(open_python(), tmp_path / "scratch", 1, SANDBOX) as servers:
        server = _ready(servers, event)
        _start_sleeper(lane, servers)
        monkeypatch.setattr("ramp_engine.step_server.START_SECONDS", 0.5)
        os.kill(server.pid, signal.SIGSTOP)
        call = replace(_unused_call(tmp_path), remove_when_orphaned=(kept,))
        try:
            assert servers.start(bundle, call) is None
            assert servers.prepare(bundle) is not server
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert not lane.ended.is_set()
        assert lane.runs[-1].end()
        while not server.has_failed:  # it has done what was asked of it, and ends
            threading.Event().wait(0.02)
    assert kept.is_dir()
    assert (tmp_path / "log").read_text() == ""


class _Stub(StepServer):
    """A server as the manager sees it."""

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle
        self.reason = ""
        self.n_runs = 0
        self.failed = self.retired = self.ended = False

    def wait(self, timeout_seconds: float) -> bool:
        return not self.failed

    @property
    def has_failed(self) -> bool:
        return self.failed

    @property
    def last_words(self) -> str:
        return "no memory"

    def reason_to_renew(self) -> str:
        return self.reason

    def retire(self) -> None:
        self.retired = True

    def end(self) -> bool:
        self.ended = True
        return True


def test_a_run_starts_cold_where_no_server_gets_warm(tmp_path: Path) -> None:
    def make(bundle: Path) -> StepServer:
        stub = _Stub(bundle)
        stub.failed = True
        return stub

    servers = StepServers(make)
    assert servers.start(Path("a"), _unused_call(tmp_path)) is None
    servers.close()


def test_a_server_is_kept_while_nothing_changes() -> None:
    servers = StepServers(_Stub)
    first = servers.prepare(Path("a"))
    assert servers.prepare(Path("a")) is first
    servers.close()


def test_another_bundle_or_environment_makes_another_server() -> None:
    servers = StepServers(_Stub)
    first = servers.prepare(Path("a"))
    second = servers.prepare(Path("b"))
    assert isinstance(first, _Stub)
    assert isinstance(second, _Stub)
    assert (first.retired, first.ended, second.bundle) == (True, False, Path("b"))
    second.reason = "the event's environment has changed"
    third = servers.prepare(Path("b"))
    assert third is not second
    servers.close()
    assert first.ended
    assert second.ended


def test_servers_that_are_never_ready_are_not_tried_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made: list[_Stub] = []

    def make(bundle: Path) -> StepServer:
        made.append(_Stub(bundle))
        made[-1].failed = True
        return made[-1]

    servers = StepServers(make)
    for _ in range(10):
        servers.prepare(Path("a"))
    assert len(made) == MAX_FAILURES
    assert servers.prepare(Path("a")) is None
    assert "a step server has ended by itself: no memory" in caplog.text
    servers.close()


def test_a_server_that_nobody_needs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ramp_engine.step_servers.IDLE_SECONDS", 0.05)
    retired = threading.Event()

    class Idle(_Stub):
        def retire(self) -> None:
            retired.set()

    servers = StepServers(Idle)
    first = servers.prepare(Path("a"))
    assert retired.wait(PATIENCE_SECONDS)
    monkeypatch.setattr("ramp_engine.step_servers.IDLE_SECONDS", 1800.0)
    assert servers.prepare(Path("a")) is not first
    servers.close()


def test_a_change_of_the_environment_is_seen(event: Event, tmp_path: Path) -> None:
    prefix = tmp_path / "packages"
    prefix.mkdir()
    os.utime(prefix, (1, 1))
    kit = tmp_path / "kit"
    shutil.copytree(event.kit, kit)
    problem = kit / "problem.py"
    problem.write_text(f"import sys; sys.path.append({str(prefix)!r})\n{problem.read_text()}")
    changed = Event(tmp_path, kit, event.data)
    assert changed.prepare().code == 0
    with fold_servers(open_python(), tmp_path / "scratch", 1, SANDBOX) as servers:
        server = _ready(servers, changed)
        assert server.reason_to_renew() == ""
        (prefix / "installed.py").touch()
        assert server.reason_to_renew() == "the event's environment has changed"


def test_imports_of_the_kits_submissions_are_found_and_done(tmp_path: Path) -> None:
    folder = tmp_path / "starting_kit"
    folder.mkdir()
    (folder / "estimator.py").write_text(
        "import os.path, tensorflow\nfrom json import decoder, loads\nfrom .x import y\n"
        "def f():\n    import wave\n"
    )
    (folder / "broken.py").write_text("import (")
    names = find_imports(tmp_path)
    assert names == ["json", "json.decoder", "json.loads", "os.path", "tensorflow"]
    preload(names)
    assert "tensorflow" not in sys.modules
    assert find_imports(tmp_path / "nowhere") == []


def test_the_starting_kit_trains_for_its_imports_and_leaves_nothing_but_them(
    event: Event, tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    shutil.copytree(event.kit, kit)
    trains_for_ever = "import wave\n        os.fork()\n        time.sleep(3600)"
    starting_kit = kit / "submissions" / "starting_kit" / "estimator.py"
    starting_kit.write_text(dedent(ESTIMATOR).format(fit=trains_for_ever, predict="pass"))
    changed = Event(tmp_path, kit, event.data)
    assert changed.prepare().code == 0
    with fold_servers(open_python(), tmp_path / "scratch", 1, SANDBOX) as servers:
        server = _ready(servers, changed)
        assert list(supervise.descendants(_parent(server.pid))) == [server.pid]
        lane = Lane(changed, tmp_path, "namespaces")
        lane.start(servers, fit="print('wave' in sys.modules, 'sndhdr' in sys.modules)")
        code, log = lane.finish()
        lane.runs[-1].remove()
    assert code == 0, log
    assert "True False" in log


def _parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("PPid:")[1].split()[0])
