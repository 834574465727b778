"""The local worker with real code: what it keeps, what it refuses, what it tells."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ramp_engine import evaluation
from ramp_engine.attempt import read_folds
from ramp_engine.base import WorkerStatus
from ramp_engine.errors import WorkerLostError, WorkerSetupError
from ramp_engine.evaluation.supervise import descendants
from ramp_engine.fold_process import MAX_TMPDIR_LENGTH
from ramp_engine.gpus import GpuPool
from ramp_engine.local import LocalWorker, SharedPlace
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import run_until_ended
from ramp_engine.testing.processes import processes_with
from tests.gpu_nodes import stand_ins
from tests.open_environment import open_python

NAME = "submission_000000001"
EVENTS = Path(__file__).parents[2] / "events"

#: A dispatcher's stand-in that drives one worker, to be killed.
ENGINE = """
import json, sys
from ramp_engine.local import LocalWorker
worker = LocalWorker(json.loads(sys.argv[1]), sys.argv[2])
worker.setup()
worker.launch_submission()
while worker.status == "running":
    worker.wait(1.0)
"""


def wait_for_death(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            assert select.select([descriptor], [], [], 30)[0], f"{pid} lives on"
        finally:
            os.close(descriptor)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """No process that a test has started, and no directory of a run, is there after it."""
    yield
    assert processes_with(str(tmp_path)) == []
    assert list(tmp_path.glob("scratch-*")) == []


@pytest.fixture(scope="module")
def warm_place(
    toy_event: ToyEvent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedPlace]:
    """Hold what the workers of a dispatcher share, with a fold server that is ready."""
    config = toy_event.config(tmp_path_factory.mktemp("warm"), NAME, Scenario.GOOD)
    config |= {"python": str(open_python())}
    with LocalWorker.open_shared(config) as place:
        assert place.servers is not None, "this machine has no namespaces"
        server = place.servers.prepare(Path(config["bundle_dir"]))
        assert server is not None
        assert server.wait(60), server.last_words
        yield place


@pytest.fixture
def make_cold_worker(toy_event: ToyEvent, tmp_path: Path) -> Iterator[Callable[..., LocalWorker]]:
    """Make a worker whose submission does something while it trains; torn down afterwards."""
    with contextlib.ExitStack() as stack:

        def make(
            code: str = "pass", scenario: Scenario = Scenario.GOOD, **config: Any
        ) -> LocalWorker:
            config = {"python": str(open_python()), **config}
            config = toy_event.config(tmp_path, NAME, scenario, **config)
            estimator = tmp_path / "submissions" / NAME / "estimator.py"
            estimator.write_text(estimator.read_text().replace("print('trained')", code))
            worker = LocalWorker(config, NAME)
            stack.callback(worker.teardown)
            return worker

        yield make


@pytest.fixture(params=["cold", "warm"])
def make_worker(
    make_cold_worker: Callable[..., LocalWorker], request: pytest.FixtureRequest
) -> Callable[..., LocalWorker]:
    """Make a worker as above, or one whose run is forked from a fold server."""
    if request.param == "cold":
        return make_cold_worker
    place = request.getfixturevalue("warm_place")

    def make(*arguments: Any, **config: Any) -> LocalWorker:
        worker = make_cold_worker(*arguments, **config)
        worker.shared = place
        return worker

    return make


def log_of(worker: LocalWorker) -> str:
    return Path(worker.config["logs_dir"], NAME, "log").read_text()


def wait_until_hanging(directory: Path, is_running: Callable[[], bool]) -> None:
    """Wait until the participant's code runs: it then says so in its log."""
    never = threading.Event()
    while not any("hanging" in path.read_text() for path in directory.glob("scratch-*/log")):
        assert is_running(), "the run has ended"
        never.wait(0.02)


def test_the_bundled_iris_event_runs(tmp_path: Path) -> None:
    for directory in ("kit", "data"):
        shutil.copytree(EVENTS / "iris" / directory, tmp_path / directory)
    subprocess.run([sys.executable, "prepare_data.py"], cwd=tmp_path / "data", check=True)
    step = [sys.executable, "-I", evaluation.__path__[0], "prepare", "--kit", "kit"]
    step += ["--data", "data", "--bundles-dir", "bundles", "--result", "bundle.json"]
    subprocess.run(step, cwd=tmp_path, check=True)
    bundle = json.loads((tmp_path / "bundle.json").read_text())
    config = {
        "submissions_dir": str(tmp_path / "kit" / "submissions"),
        "predictions_dir": str(tmp_path / "predictions"),
        "logs_dir": str(tmp_path / "logs"),
        "bundle_dir": str(tmp_path / "bundles" / bundle["bundle"] / "public"),
        "python": sys.executable,
        "timeout": 240.0,
        "n_threads": 1,
    }
    assert LocalWorker({**config, "work_dir": "work"}, "starting_kit").launch() == (0, "")
    folds = tmp_path / "predictions" / "starting_kit"
    assert sorted(path.name for path in folds.iterdir()) == [
        f"fold_{fold}" for fold in range(bundle["n_folds"])
    ]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_tree_dies_with_the_dispatcher(
    make_worker: Callable[..., LocalWorker], tmp_path: Path, n_jobs: int
) -> None:
    """Killed by SIGKILL while the participant's code, which ignores SIGTERM, and its daemon run."""
    config = make_worker(scenario=Scenario.HANGING, n_jobs_per_submission=n_jobs).config
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, json.dumps(config), NAME])
    try:
        wait_until_hanging(tmp_path, lambda: engine.poll() is None)
        tree = list(descendants(engine.pid))
        directories = [*tmp_path.glob("scratch-*"), tmpdir_of(tree[0])]
    finally:
        engine.kill()
        engine.wait()
    assert len(tree) >= 4, "supervisor, fold step, fold, its daemon"
    for pid in tree:
        wait_for_death(pid)
    assert not any(directory.exists() for directory in directories)


def tmpdir_of(pid: int) -> Path:
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (tmpdir,) = (word[7:] for word in words if word.startswith(b"TMPDIR="))
    return Path(os.fsdecode(tmpdir))


@pytest.mark.parametrize("ending", ["cancel", "teardown"])
def test_a_running_tree_is_ended(
    make_worker: Callable[..., LocalWorker], tmp_path: Path, ending: str
) -> None:
    worker = make_worker(scenario=Scenario.HANGING)
    worker.setup()
    worker.launch_submission()
    wait_until_hanging(tmp_path, lambda: worker.status == "running")
    getattr(worker, ending)()
    assert processes_with(str(tmp_path)) == []


def test_the_time_limit_ends_code_and_daemon_and_keeps_the_log(
    make_worker: Callable[..., LocalWorker], tmp_path: Path
) -> None:
    for worker in patiently(make_worker(scenario=Scenario.HANGING), first=4.0):
        seconds = f"{worker.config['timeout']:g} s"
        assert worker.collect_results() == (124, f"out of time: not done after {seconds}")
        assert processes_with(str(tmp_path)) == []
        if "hanging" in log_of(worker):
            break
    assert "hanging" in log_of(worker)
    assert f"time limit of {seconds} exceeded" in log_of(worker)


#: Prints 50 MB, makes a folder when it has, and does not end by itself for long.
VERBOSE = (
    "[print('x' * 1023) for _ in range(50 << 10)]; print('the end', flush=True); "
    "os.mkdir('ready'); __import__('time').sleep(600)"
)


def is_head_note_and_tail(log: str) -> bool:
    note = re.search(r"\n\[\.\.\. (\d+) bytes left out \.\.\.\]\n", log)
    assert note, log[-300:]
    n_bytes = len(log) + int(note[1])
    is_whole = (50 << 20) <= n_bytes <= (50 << 20) + 1000
    return is_whole and log.startswith("CV fold 0\nx") and "x\nthe end\n" in log


def patiently(worker: LocalWorker, first: float = 3.0) -> Iterator[LocalWorker]:
    """Run into a time limit, again with a later one where the machine was too slow for it."""
    for timeout in (first, 12.0, 40.0, 200.0):
        again = LocalWorker(worker.config | {"timeout": timeout}, NAME)
        try:
            assert run_until_ended(again) == "timeout"
            yield again
        finally:
            again.teardown()


def test_of_a_long_log_head_and_tail_are_kept_when_time_is_up(
    make_worker: Callable[..., LocalWorker], tmp_path: Path
) -> None:
    for worker in patiently(make_worker(VERBOSE, limits={"log_mb": 2})):
        is_printed = bool(list(tmp_path.glob("scratch-*/work/fold_0/ready")))
        assert worker.collect_results()[0] == 124
        if is_printed:
            break
    log = log_of(worker)
    assert is_head_note_and_tail(log)
    seconds = f"{worker.config['timeout']:g} s"
    assert log.endswith(
        "\nthe run was ended in fold 0, training\n"
        f"time limit of {seconds} exceeded, the run was ended\n"
    )


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_of_a_long_log_head_and_tail_are_kept_on_cancel(
    make_worker: Callable[..., LocalWorker], tmp_path: Path, sandbox: str
) -> None:
    worker = make_worker(VERBOSE, sandbox=sandbox, limits={"log_mb": 2})
    worker.setup()
    worker.launch_submission()
    never = threading.Event()
    while not list(tmp_path.glob("scratch-*/work/fold_0/ready")):
        assert worker.status == "running"
        never.wait(0.02)
    worker.cancel()
    worker.cancel()
    assert is_head_note_and_tail(log_of(worker))
    assert "time limit" not in log_of(worker)


def test_results_of_finished_folds_are_kept_when_time_is_up(
    make_worker: Callable[..., LocalWorker], tmp_path: Path
) -> None:
    code = "os.path.basename(os.getcwd()) == 'fold_1' and __import__('time').sleep(600)"
    folds: list[dict[str, Any]] = []
    for worker in patiently(make_worker(code)):
        for result in tmp_path.glob("scratch-*/result.json"):
            folds = json.loads(result.read_text())["folds"]
        worker.collect_results()
        if len(folds) == 2:
            break
    assert [(fold["fold"], fold["state"]) for fold in folds] == [
        (0, "tested"),
        (1, "training_error"),
    ]
    told = [(fold.fold, fold.state) for fold in read_folds(tmp_path / "predictions" / NAME)]
    assert told == [(0, "tested"), (1, "training_error")]


def test_a_participant_who_stops_the_fold_step_gains_nothing(
    make_cold_worker: Callable[..., LocalWorker], tmp_path: Path
) -> None:
    code = "print('hanging', flush=True); os.kill(os.getppid(), 19); __import__('time').sleep(600)"
    worker = make_cold_worker(code, sandbox="off", timeout=6.0)
    assert worker.launch()[0] == 124
    assert processes_with(str(tmp_path)) == []


def test_code_that_exits_as_if_time_were_up_has_not_timed_out(
    make_worker: Callable[..., LocalWorker],
) -> None:
    worker = make_worker("os._exit(124)")
    assert run_until_ended(worker) == "finished"
    returncode, error_msg = worker.collect_results()
    assert returncode == 1
    assert "124" in error_msg


def test_the_end_of_the_run_wakes_the_driver(make_worker: Callable[..., LocalWorker]) -> None:
    worker = make_worker()
    worker.setup()
    worker.launch_submission()
    worker.wait(300.0)  # longer than the test may take
    assert worker.status == "finished"


def test_a_message_names_fold_phase_and_error(make_worker: Callable[..., LocalWorker]) -> None:
    worker = make_worker("raise KeyError('petal')")
    returncode, error_msg = worker.launch()
    assert returncode == 1
    headline, rest = error_msg.split("\n\n", 1)
    assert headline == "fold 0 failed while training: KeyError: 'petal'"
    assert "estimator.py" in rest


def test_a_killed_fold_step_is_told_as_killed(make_cold_worker: Callable[..., LocalWorker]) -> None:
    worker = make_cold_worker("os.kill(os.getppid(), 9)", sandbox="off")
    returncode, error_msg = worker.launch()
    assert returncode == 137
    assert "killed (SIGKILL)" in error_msg


def test_a_confined_submission_cannot_kill_the_fold_step(
    make_worker: Callable[..., LocalWorker],
) -> None:
    worker = make_worker("os.kill(os.getppid(), 9)")
    returncode, error_msg = worker.launch()
    assert "SIGKILL" not in error_msg
    if worker.sandbox == "namespaces":  # its parent is pid 1: not its own, or deaf
        assert returncode == 0 or "PermissionError" in error_msg


def test_the_death_of_the_supervisor_is_no_fault_of_the_participant(
    make_cold_worker: Callable[..., LocalWorker], tmp_path: Path
) -> None:
    worker = make_cold_worker(scenario=Scenario.HANGING)
    worker.setup()
    before = set(descendants(os.getpid()))
    worker.launch_submission()
    (supervisor,) = (
        pid
        for pid in set(descendants(os.getpid())) - before
        if b"supervise.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(supervisor, signal.SIGKILL)
    while worker.status is WorkerStatus.RUNNING:
        worker.wait(1.0)
    with pytest.raises(WorkerLostError, match=r"supervisor .* was killed by SIGKILL"):
        worker.collect_results()
    for pid in processes_with(str(tmp_path)):
        wait_for_death(pid)


def test_the_environment_of_a_run_holds_nothing_of_ours(
    make_cold_worker: Callable[..., LocalWorker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hidden-words")
    code = "import json; print(json.dumps(dict(os.environ)))"
    worker = make_cold_worker(code, n_threads=3, sandbox="off")
    assert worker.launch() == (0, "")
    (line, *_) = (line for line in log_of(worker).splitlines() if line.startswith("{"))
    environment = json.loads(line)
    assert "hidden-words" not in environment.values()
    assert "PYTEST_CURRENT_TEST" not in environment
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}
    assert environment["HOME"].startswith(str(tmp_path))
    assert len(environment["TMPDIR"]) <= MAX_TMPDIR_LENGTH
    assert not Path(environment["TMPDIR"]).exists()


def test_a_run_starts_with_nothing_on_its_stdin(make_worker: Callable[..., LocalWorker]) -> None:
    assert make_worker("assert os.read(0, 1) == b''").launch() == (0, "")


def test_a_fold_does_not_see_what_others_have_left(
    make_worker: Callable[..., LocalWorker],
) -> None:
    """It could know test data by then, and trains where participants see what it says."""
    code = (
        "here = os.path.dirname(os.path.abspath(__file__)); "
        "assert [n for _, _, names in os.walk(here) for n in names if 'y_pred' in n] == []"
    )
    worker = make_worker(code)
    assert worker.launch() == (0, "")
    assert len(list(Path(worker.config["predictions_dir"], NAME).glob("fold_*"))) > 1


def test_directories_that_a_run_has_locked_are_removed(
    make_worker: Callable[..., LocalWorker],
) -> None:
    code = "os.makedirs('a/b'); os.chmod('a/b', 0); os.chmod('a', 0)"
    assert make_worker(code).launch() == (0, "")


def test_a_training_output_that_was_sent_along_counts_for_nothing(
    make_worker: Callable[..., LocalWorker], tmp_path: Path
) -> None:
    worker = make_worker("raise ValueError('no luck')")
    sent = tmp_path / "submissions" / NAME / "training_output" / "fold_1"
    sent.mkdir(parents=True)
    (sent / "y_pred_train.npz").write_bytes(b"sent along")
    assert worker.launch()[0] == 1
    assert not (tmp_path / "predictions" / NAME / "fold_1").exists()


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("python", "the event's environment is missing"),
        ("bundle_dir", "the event's bundle is missing"),
        ("submissions_dir", "the submission is missing"),
    ],
)
def test_what_is_missing_is_told_at_setup(
    make_cold_worker: Callable[..., LocalWorker], tmp_path: Path, missing: str, reason: str
) -> None:
    worker = make_cold_worker()
    worker.config[missing] = str(tmp_path / "nowhere" / "else")
    with pytest.raises(WorkerSetupError, match=reason):
        worker.launch()


def test_an_environment_that_vanished_is_told_at_setup(
    make_worker: Callable[..., LocalWorker], tmp_path: Path
) -> None:
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    worker = make_worker(python=str(python))
    with LocalWorker.open_shared(worker.config) as worker.shared:
        python.unlink()
        with pytest.raises(WorkerSetupError, match="environment is missing"):
            worker.setup()


def test_a_python_without_ramp_workflow_is_told(
    make_cold_worker: Callable[..., LocalWorker], tmp_path: Path
) -> None:
    """It is nothing that a participant could mend."""
    command = [sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"]
    subprocess.run(command, check=True)
    returncode, error_msg = make_cold_worker(python=str(tmp_path / "bare")).launch()
    assert returncode in (3, 70)
    assert "numpy" in error_msg or "rampwf" in error_msg


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_a_submission_opens_its_own_gpus_and_no_other(
    make_worker: Callable[..., LocalWorker], tmp_path: Path
) -> None:
    dev = stand_ins(tmp_path / "dev", "nvidia0", "nvidia1", "nvidiactl")
    code = (
        f"seen = sorted(next(os.walk({str(dev)!r}))[2]); "
        f"print('seen', seen, os.environ['CUDA_VISIBLE_DEVICES']); "
        f"__import__('pathlib').Path({str(dev / 'nvidia1')!r}).write_bytes(b'x')"
    )
    worker = make_worker(code, gpus=1)
    with LocalWorker.open_shared(worker.config) as place:
        if place.sandbox.level != "namespaces":
            pytest.skip("this machine offers no namespaces")
        worker.shared = replace(place, gpus=GpuPool(["1"], dev))
        assert worker.launch() == (0, ""), log_of(worker)
    assert "seen ['nvidia1', 'nvidiactl'] 0" in log_of(worker)


def test_the_private_log_is_for_organisers_only(make_worker: Callable[..., LocalWorker]) -> None:
    worker = make_worker()
    assert worker.launch() == (0, "")
    private = Path(worker.config["logs_dir"], NAME, "private.log")
    assert private.stat().st_mode & 0o777 == 0o600
