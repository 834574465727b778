"""What an organiser is told of a kit, data or an environment that cannot be used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kits.evaluation import EVALUATION, Event, Result, bundled_event, run, run_many


def append(code: str) -> Callable[[Event], None]:
    def change(event: Event) -> None:
        problem = event.kit / "problem.py"
        problem.write_text(f"{problem.read_text()}\n\n{code}\n")

    return change


def remove(path: str) -> Callable[[Event], None]:
    def change(event: Event) -> None:
        target = event.root / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return change


#: What is wrong, and what the organiser must be told.
FAULTS: dict[str, tuple[Callable[[Event], None], tuple[str, ...]]] = {
    "no problem.py": (remove("kit/problem.py"), ("has no problem.py", "kit_dir")),
    "no starting kit": (remove("kit/submissions/starting_kit"), ("submissions/starting_kit",)),
    "no data folder": (remove("data"), ("data folder", "does not exist", "data_dir")),
    "no data": (remove("data/data"), ("get_train_data", "FileNotFoundError", "prepare_data.py")),
    "no test data": (remove("data/data/test.csv"), ("get_test_data", "test.csv")),
    "syntax error": (append("def x(:"), ("importing", "SyntaxError", "problem.py")),
    "missing package": (
        append("import there_is_no_such_package"),
        ("ModuleNotFoundError", "there_is_no_such_package", "requirements.txt"),
    ),
    "exit": (append("raise SystemExit(0)"), ("importing", "SystemExit")),
    "no workflow": (append("del workflow, get_cv"), ("does not define workflow, get_cv",)),
    "no scores": (append("score_types = []"), ("score_types is empty",)),
    "get_cv fails": (
        append("def get_cv(X, y):\n    return X.no_such_column"),
        ("get_cv", "AttributeError", "no_such_column"),
    ),
    "no folds": (append("def get_cv(X, y):\n    return []"), ("there are no folds",)),
    "no pairs": (append("def get_cv(X, y):\n    return [(1, 2, 3)]"), ("fold 0 is not a pair",)),
    "no indices": (
        append("def get_cv(X, y):\n    return [([0.5], [1])]"),
        ("fold 0 does not consist of indices",),
    ),
    "wrong indices": (
        append("def get_cv(X, y):\n    return [([0, 100], [1])]"),
        ("fold 0 does not fit the 100",),
    ),
    "wrong labels": (
        append("Predictions = rw.prediction_types.make_multiclass(label_names=['rose'])"),
        ("Predictions", "is not in list"),
    ),
    "unpicklable": (
        append("def get_test_data(path):\n    return (i for i in 'ab'), ['setosa'] * 2"),
        ("X cannot be stored", "picklable"),
    ),
    "data while importing": (
        append("names = pd.read_csv(os.path.join(os.path.dirname(__file__), 'data/train.csv'))"),
        ("copy of the kit", "train.csv", "not while problem.py is imported"),
    ),
}


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    event = bundled_event("iris", tmp_path_factory.mktemp("event"))
    assert event.prepare().code == 0
    return event


@pytest.fixture(scope="module")
def told(event: Event, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    events = []
    for change, _ in FAULTS.values():
        root = tmp_path_factory.mktemp("fault")
        shutil.copytree(event.kit, root / "kit")
        shutil.copytree(event.data, root / "data")
        events.append(Event(root, root / "kit", root / "data"))
        change(events[-1])
    results = run_many([(event.prepare_arguments(), event.root / "log") for event in events])
    assert not [
        event for event in events if event.bundles.exists() and any(event.bundles.iterdir())
    ]
    return dict(zip(FAULTS, results, strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_the_organiser_is_told_what_to_mend(fault: str, told: dict[str, Result]) -> None:
    result = told[fault]
    assert result.code == 3, result.log
    text = f"{result.error['message']}\n{result.error['hint']}"
    assert [part for part in FAULTS[fault][1] if part not in text] == []
    assert result.error["hint"]
    assert result.error["message"] in result.log


def test_an_environment_without_ramp_workflow_is_told(event: Event) -> None:
    result = event.root / "result.json"
    arguments = event.prepare_arguments()
    arguments[arguments.index("--result") + 1] = str(result)
    done = subprocess.run(
        [sys.executable, "-I", "-S", EVALUATION, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 3
    assert "cannot import ramp-workflow" in result.read_text()


def test_a_damaged_bundle_is_the_organisers_affair(event: Event, tmp_path: Path) -> None:
    damaged = Event(tmp_path, event.kit, event.data)
    damaged.prepared = event.prepared
    shutil.copytree(event.bundle, damaged.bundle)
    (damaged.bundle / "public" / "train" / "X.pkl").write_bytes(b"no pickle")
    (damaged.bundle / "labels" / "manifest.json").unlink()
    fold = damaged.fold(event.kit / "submissions" / "starting_kit")
    assert (fold.code, "reading X of the bundle" in fold.error["message"]) == (3, True)
    score = damaged.score(event.kit / "submissions" / "starting_kit")
    assert (score.code, "not part of a bundle" in score.error["message"]) == (3, True)


def test_usage_is_told_by_its_own_code(tmp_path: Path) -> None:
    result = run(["fold", "--result", str(tmp_path / "result.json")], tmp_path / "log")
    assert result.code == 2
    assert "--bundle" in result.log


def test_what_goes_wrong_on_our_side_never_looks_like_the_participants_failure(
    event: Event, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    arguments = event.fold_arguments(event.kit / "submissions" / "starting_kit")
    arguments[arguments.index("--result") + 1] = str(tmp_path / "file" / "result.json")
    assert run(arguments, tmp_path / "log").code == 70
    missing = event.fold(event.kit / "submissions" / "there_is_none")
    assert (missing.code, "there is no submission" in missing.error["message"]) == (70, True)


def test_a_disk_that_refuses_the_bagged_scores_is_no_fault_of_the_predictions(
    event: Event, tmp_path: Path
) -> None:
    submission = tmp_path / "refused_at_the_end"
    shutil.copytree(event.kit / "submissions" / "starting_kit", submission)
    assert event.fold(submission).code == 0
    (event.scored(submission) / "bagged_scores.csv").mkdir(parents=True)
    assert event.score(submission).code == 70


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("raise OSError('no numbers today')", "no numbers today"),
        ("os.kill(os.getpid(), 9)", "its process has died before, by signal 9"),
        ("os._exit(5)", "its process has died before, with exit code 5"),
    ],
)
def test_a_fold_that_fails_before_the_submission_begins_is_not_its_failure(
    end: str, reason: str, tmp_path: Path
) -> None:
    event = bundled_event("iris", tmp_path)
    append(f"import os, random\ndef seed(*_):\n    {end}\nrandom.seed = seed")(event)
    assert event.prepare().code == 0
    result = event.fold(event.kit / "submissions" / "starting_kit")
    assert result.code == 70
    wanted = f"the fold failed before the submission was begun: {reason}"
    assert result.error["message"].endswith(wanted), result.error
