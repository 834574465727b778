"""Folds of one submission that run at the same time."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ramp_engine import evaluation
from ramp_engine.attempt import read_folds
from ramp_engine.fold_process import remove_tree
from ramp_engine.local import LocalWorker, SharedPlace
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.processes import processes_with
from tests.integration.puppets import NAME, Puppets
from tests.open_environment import open_python

MakePuppets = Callable[..., Puppets]

#: What a fold has left when it is done.
COMPLETE = {
    "state.txt", "train_time", "valid_time", "test_time", "y_pred_train.npz", "y_pred_test.npz",
}  # fmt: skip
N_THREADS = 2


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> ToyEvent:
    return ToyEvent.prepare(tmp_path_factory.mktemp("toy") / "event", open_python(), n_folds=4)


@pytest.fixture(scope="module")
def warm_place(event: ToyEvent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedPlace]:
    """Hold what the workers of a dispatcher share, with a fold server that is ready."""
    config = event.config(tmp_path_factory.mktemp("warm"), NAME, Scenario.GOOD)
    config |= {"python": str(open_python()), "n_threads": N_THREADS, "n_jobs_per_submission": 2}
    with LocalWorker.open_shared(config) as place:
        assert place.servers is not None, "this machine has no namespaces"
        server = place.servers.prepare(Path(config["bundle_dir"]))
        assert server is not None
        assert server.wait(60), server.last_words
        yield place


@pytest.fixture
def make_cold(event: ToyEvent, tmp_path: Path) -> Iterator[MakePuppets]:
    """Start puppets; nothing is left of them afterwards."""
    with contextlib.ExitStack() as stack:

        def make(n_jobs: int = 2, shared: SharedPlace | None = None, **config: Any) -> Puppets:
            python = str(open_python())
            config = {"python": python, "n_threads": N_THREADS, "timeout": 240.0, **config}
            puppets = Puppets(event, tmp_path, n_jobs_per_submission=n_jobs, **config)
            puppets.worker.shared = shared
            stack.callback(puppets.worker.teardown)
            puppets.start()
            return puppets

        yield make
    assert processes_with(str(tmp_path)) == []
    assert list(tmp_path.glob("scratch-*")) == []


@pytest.fixture(params=["cold", "warm"])
def make(make_cold: MakePuppets, request: pytest.FixtureRequest) -> MakePuppets:
    """Start puppets as above, or such that are forked from a fold server."""
    if request.param == "cold":
        return make_cold
    place = request.getfixturevalue("warm_place")
    return lambda *arguments, **config: make_cold(*arguments, shared=place, **config)


def kept(puppets: Puppets, name: str = "log") -> str:
    return Path(puppets.worker.config["logs_dir"], NAME, name).read_text()


def folds_left(puppets: Puppets) -> dict[int, str | None]:
    """Give the state of each fold of which there are outputs."""
    predictions = Path(puppets.worker.config["predictions_dir"], NAME)
    return {fold.fold: fold.state for fold in read_folds(predictions)}


def test_folds_run_at_once_and_look_as_if_they_had_not(make: MakePuppets) -> None:
    puppets = make()
    puppets.wait_until_begun(0, 1)
    assert not puppets.has_begun(2)
    puppets.see_done(1, "print('one is here', flush=True)")
    puppets.wait_for(lambda: puppets.log == "CV fold 0\nfold_0 begins\n")
    puppets.end(1)
    puppets.wait_until_begun(2)  # in the place of fold 1
    assert {path.name for path in (puppets.scratch / "output" / "fold_1").iterdir()} >= COMPLETE
    puppets.see_done(0, "print('zero is here', flush=True)")
    puppets.wait_for(lambda: puppets.log == "CV fold 0\nfold_0 begins\nzero is here\n")
    puppets.end(0, 2, 3)
    assert puppets.collect() == (0, "")
    assert kept(puppets) == (
        "CV fold 0\nfold_0 begins\nzero is here\nCV fold 1\nfold_1 begins\none is here\n"
        "CV fold 2\nfold_2 begins\nCV fold 3\nfold_3 begins\n"
    )
    headers = [f"--- fold {fold}: predicting the test data\n" for fold in range(4)]
    assert kept(puppets, "private.log") == "".join(headers)
    result = json.loads((puppets.scratch / "result.json").read_text())
    assert [(fold["fold"], fold["state"]) for fold in result["folds"]] == [
        (fold, "tested") for fold in range(4)
    ]


def test_folds_in_flight_share_the_threads(make: MakePuppets) -> None:
    puppets = make()
    look = (
        "import threadpoolctl; "
        "pools = {pool['num_threads'] for pool in threadpoolctl.threadpool_info()}; "
        "print('threads', os.environ['OMP_NUM_THREADS'], pools, flush=True)"
    )
    puppets.wait_until_begun(0, 1)
    puppets.see_done(0, look)
    puppets.see_done(1, look)
    puppets.end(0, 1, 2, 3)
    assert puppets.collect() == (0, "")
    assert re.findall("threads (.*)", kept(puppets)) == ["1 {1}", "1 {1}"]


@pytest.mark.parametrize("does_fold_0_fail", [False, True])
def test_the_first_failure_in_the_order_of_folds_is_the_runs(
    make: MakePuppets, does_fold_0_fail: bool
) -> None:
    puppets = make(3)
    puppets.wait_until_begun(0, 1, 2)
    puppets.tell(1, "raise ValueError('one')")
    puppets.wait_for(lambda: puppets.is_gone(2))
    assert not puppets.is_gone(0)
    puppets.tell(0, "raise ValueError('zero')" if does_fold_0_fail else "end")
    returncode, error_msg = puppets.collect()
    assert returncode == 1
    fails = "fold 0 failed while training: ValueError: zero"
    if not does_fold_0_fail:
        fails = "fold 1 failed while training: ValueError: one"
    assert error_msg.startswith(fails)
    states = {0: "training_error"} if does_fold_0_fail else {0: "tested", 1: "training_error"}
    assert folds_left(puppets) == states
    assert "CV fold 2" not in kept(puppets)
    assert ("CV fold 1" in kept(puppets)) is not does_fold_0_fail
    assert not puppets.has_begun(3)


def test_what_is_done_above_a_failure_does_not_count(make_cold: MakePuppets) -> None:
    puppets = make_cold()
    puppets.end(1)
    puppets.wait_until_begun(2)
    puppets.tell(0, "raise ValueError('zero')")
    assert puppets.collect()[1].startswith("fold 0 failed while training: ValueError: zero")
    assert folds_left(puppets) == {0: "training_error"}


def test_a_cancel_ends_all_folds_and_completes_their_logs(
    make: MakePuppets, tmp_path: Path
) -> None:
    puppets = make()
    puppets.wait_until_begun(0, 1)
    puppets.worker.cancel()
    assert processes_with(str(tmp_path)) == []
    assert kept(puppets) == "".join(
        f"CV fold {fold}\nfold_{fold} begins\nthe run was ended in fold {fold}, training\n"
        for fold in (0, 1)
    )


def test_each_fold_has_the_limits_for_itself(make: MakePuppets) -> None:
    puppets = make(limits={"memory_mb": 1024})
    puppets.wait_until_begun(0, 1)
    puppets.see_done(1, "kept = 'x' * (600 << 20)")
    puppets.see_done(0, "kept = 'x' * (600 << 20); time.sleep(2)")  # some looks
    puppets.tell(1, "more = 'x' * (700 << 20); time.sleep(60)")
    puppets.wait_for(lambda: puppets.is_gone(1))
    puppets.end(0)
    returncode, error_msg = puppets.collect()
    assert returncode == 1
    assert re.search(r"out of memory: [\d.]+ GB of 1 GB in fold 1, training", error_msg)
    result = json.loads((puppets.scratch / "result.json").read_text())
    assert 590 < result["folds"][0]["peak_memory_mb"] < 800


def test_the_death_of_what_stands_by_a_fold_is_no_fault_of_the_participant(
    make_cold: MakePuppets,
) -> None:
    """It can only be killed by a submission where nothing is confined."""
    puppets = make_cold(3, sandbox="off")
    puppets.wait_until_begun(0, 1, 2)
    puppets.tell(1, "os.kill(os.getppid(), 9); time.sleep(600)")
    puppets.wait_for(lambda: puppets.is_gone(1) and puppets.is_gone(2))
    assert not puppets.is_gone(0)
    puppets.end(0)
    returncode, error_msg = puppets.collect()
    assert returncode == 70
    assert "the process that stood by fold 1 has died" in error_msg
    assert folds_left(puppets)[0] == "tested"
    assert "tested" not in list(folds_left(puppets).values())[1:]


def test_some_of_the_folds_run_side_by_side(event: ToyEvent, tmp_path: Path) -> None:
    options = {
        "--bundle": event.bundle_dir, "--jobs": 2, "--folds": "1,3",
        "--submission": event.root / "kit" / "submissions" / "starting_kit",
        "--output": tmp_path / "output", "--scratch": tmp_path / "scratch",
        "--private-log": tmp_path / "private.log", "--result": tmp_path / "result.json",
    }  # fmt: skip
    words = [str(word) for option in options.items() for word in option]
    command = [open_python(), "-I", evaluation.__path__[0], "fold", *words]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert re.findall("CV fold .*", done.stdout) == ["CV fold 1", "CV fold 3"]
    result = json.loads((tmp_path / "result.json").read_text())
    assert [fold["fold"] for fold in result["folds"]] == [1, 3]
    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == ["fold_1", "fold_3"]
    remove_tree(tmp_path / "scratch")


#: The first fold ends when as many others have as may before it; tells how many had begun by then.
SLOW_FIRST = """
import json, os, sys, time
from pathlib import Path
from ramp_engine.evaluation import supervise
from ramp_engine.evaluation.fold_parent import Asides
from ramp_engine.evaluation.log_aside import LogAside
from ramp_engine.evaluation.log_pump import Log, Logs
from ramp_engine.evaluation.side_by_side import MAX_ASIDE, SideBySide
from ramp_engine.evaluation.stopping import StopSignal
folder = Path(sys.argv[1])
os.mkfifo(folder / "go")
n_begun = 0
def work(number, logs, stop):
    logs.say(f"fold {number}\\n")
    if number == 0:
        last = Path("/proc", (folder / "go").read_text())
        while last.exists():  # until the step has taken leave of it
            time.sleep(0.05)
        (folder / "is_done").touch()
    elif number == MAX_ASIDE:
        (folder / "go").write_text(str(os.getpid()))
    return {"state": "tested", "fold": number}
def make_asides():
    global n_begun
    n_begun += not (folder / "is_done").exists()
    return Asides(LogAside(folder, 1000), LogAside(folder, 1000))
supervise.become_subreaper()
logs = Logs(Log(folder / "log"), Log(folder / "private"))
with StopSignal() as stop:
    run = SideBySide(work, 2, logs, make_asides, print, stop)
    results = run.run(range(MAX_ASIDE + 20))
logs.close()
print(json.dumps([n_begun - 1 - MAX_ASIDE, len(results) - 20 - MAX_ASIDE]))
"""


def test_not_all_folds_wait_with_what_they_have_printed_for_a_slow_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW_FIRST, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0, 0]
    numbers = re.findall(r"\d+", (tmp_path / "log").read_text())
    assert numbers == [str(number) for number in range(len(numbers))]
