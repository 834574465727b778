"""A bundle: what is in it, what is not, and what its name depends on."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.kits.evaluation import EVALUATION, Event, bundled_event, event_of, run_many


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Event:
    event = bundled_event("iris", tmp_path_factory.mktemp("iris"))
    assert event.prepare().code == 0
    return event


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Event:
    event = bundled_event("digits", tmp_path_factory.mktemp("digits"))
    assert event.prepare().code == 0
    return event


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


KIT = {
    f"kit/{name}"
    for name in (
        "problem.py",
        "requirements.txt",
        "environment.yml",
        "submissions/starting_kit/estimator.py",
    )
}


def test_the_public_part_holds_what_a_fold_needs_and_nothing_else(iris: Event) -> None:
    assert files(iris.bundle / "public") == KIT | {
        "manifest.json",
        "train/X.pkl",
        "train/y.pkl",
        "test/X.pkl",
        "folds/fold_0.npz",
        "folds/fold_1.npz",
    }


def test_the_labels_are_apart_and_closed_to_others(iris: Event) -> None:
    assert files(iris.bundle / "labels") == KIT | {
        "manifest.json",
        "y_train.pkl",
        "y_test.pkl",
        "folds/fold_0.npz",
        "folds/fold_1.npz",
    }
    assert (iris.bundle / "labels").stat().st_mode & 0o777 == 0o700
    assert (iris.bundle / "public").stat().st_mode & 0o777 == 0o755


def test_no_public_file_holds_test_labels(iris: Event, digits: Event) -> None:
    public = iris.bundle / "public"
    X_test = pickle.loads((public / "test" / "X.pkl").read_bytes())  # noqa: S301
    assert list(X_test.columns) == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    y_train = pickle.loads((public / "train" / "y.pkl").read_bytes())  # noqa: S301
    assert len(y_train) == 100
    with np.load(digits.data / "data" / "test.npz") as data:
        labels = [data["labels"].astype(kind).tobytes() for kind in ("<i8", "<i4", "u1")]
    for path in (digits.bundle / "public").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert [label for label in labels if label in content] == []
    assert labels[0] in (digits.bundle / "labels" / "y_test.npy").read_bytes()


def test_the_result_says_what_the_engine_wants_to_know(iris: Event, digits: Event) -> None:
    assert iris.prepared["problem_title"] == "Iris classification"
    assert iris.prepared["required_files"] == ["estimator.py"]
    assert (iris.prepared["n_train"], iris.prepared["n_test"]) == (100, 50)
    assert iris.prepared["folds"] == [{"n_train": 60, "n_valid": 40}] * 2
    assert iris.prepared["score_types"][0]["name"] == "acc"
    assert iris.prepared["score_types"][2] == {
        "name": "nll",
        "precision": 2,
        "is_lower_the_better": True,
        "minimum": 0.0,
        "maximum": None,
    }
    assert (digits.prepared["n_folds"], len(digits.prepared["folds"])) == (8, 8)
    assert set(iris.prepared["hashes"]) == {"kit", "data", "folds", "environment"}


def copy_of(event: Event, root: Path) -> Event:
    shutil.copytree(event.kit, root / "kit")
    shutil.copytree(event.data, root / "data")
    return Event(root, root / "kit", root / "data")


def test_the_name_depends_on_its_inputs_and_on_nothing_else(iris: Event, tmp_path: Path) -> None:
    def replace(path: str, old: str, new: str) -> Callable[[Event], None]:
        def change(event: Event) -> None:
            file = event.root / path
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new, 1))

        return change

    def add(path: str) -> Callable[[Event], None]:
        def change(event: Event) -> None:
            (event.root / path).parent.mkdir(parents=True, exist_ok=True)
            (event.root / path).write_text("new")

        return change

    changes: dict[str, tuple[Callable[[Event], None], str | None]] = {
        "nothing": (lambda _: None, None),
        "public data": (replace("kit/data/train.csv", "setosa", "versicolor"), None),
        "outputs": (add("kit/submissions/starting_kit/training_output/fold_0/scores.csv"), None),
        "another submission": (add("kit/submissions/mine/estimator.py"), None),
        "byte code": (add("kit/__pycache__/problem.pyc"), None),
        "problem": (replace("kit/problem.py", "Iris", "Irises"), "kit"),
        "new kit file": (add("kit/external_imports/more.py"), "kit"),
        "data": (replace("data/data/test.csv", "setosa", "virginica"), "data"),
        "folds": (replace("kit/problem.py", "random_state=57", "random_state=58"), "folds"),
    }
    events = {}
    for number, (name, (change, _)) in enumerate(changes.items()):
        events[name] = copy_of(iris, tmp_path / str(number))
        change(events[name])
    commands = [(event.prepare_arguments(), event.root / "log") for event in events.values()]
    for name, result in zip(changes, run_many(commands), strict=True):
        assert result.code == 0, result.log
        expected = changes[name][1]
        hashes = result.content["hashes"]
        changed = {key for key in hashes if hashes[key] != iris.prepared["hashes"][key]}
        assert (expected in changed) is (expected is not None), name
        assert (result.content["bundle"] == iris.prepared["bundle"]) is (not changed), name
        if expected is None:
            assert changed == set(), name


def test_a_bundle_that_is_there_is_used_again(iris: Event) -> None:
    before = (iris.bundle / "public" / "manifest.json").stat().st_mtime_ns
    assert iris.prepare().content["bundle"] == iris.bundle.name
    assert (iris.bundle / "public" / "manifest.json").stat().st_mtime_ns == before
    assert sorted(path.name for path in iris.bundles.iterdir()) == [iris.bundle.name]


def test_stored_folds_are_used_instead_of_new_ones(iris: Event, tmp_path: Path) -> None:
    event = copy_of(iris, tmp_path)
    problem = event.kit / "problem.py"
    problem.write_text(problem.read_text().replace(", random_state=57", ""))
    stored = iris.bundle / "public" / "folds"
    results = run_many(
        [
            (event.prepare_arguments(name="first"), event.root / "log"),
            (event.prepare_arguments(name="second"), event.root / "log"),
            (event.prepare_arguments("--folds", str(stored), name="third"), event.root / "log"),
        ]
    )
    folds = [result.content["hashes"]["folds"] for result in results]
    assert len(set(folds)) == 3
    assert folds[2] == iris.prepared["hashes"]["folds"]
    kept = event.bundles / results[2].content["bundle"] / "public" / "folds" / "fold_1.npz"
    with np.load(kept) as ours, np.load(stored / "fold_1.npz") as theirs:
        assert ours["valid"].tolist() == theirs["valid"].tolist()


def test_one_fold_can_be_run_alone(iris: Event) -> None:
    result = iris.fold(iris.kit / "submissions" / "sepals", "--folds", "1")
    assert [fold["fold"] for fold in result.content["folds"]] == [1]
    assert [path.name for path in iris.output(Path("sepals")).iterdir()] == ["fold_1"]


def test_a_fold_reads_nothing_but_the_public_part(iris: Event, tmp_path: Path) -> None:
    event = Event(tmp_path, iris.kit, iris.data)
    event.prepared = iris.prepared
    shutil.copytree(iris.bundle / "public", event.bundle / "public")
    assert event.fold(iris.kit / "submissions" / "random_forest").code == 0


def test_a_kit_beside_its_data_is_prepared_as_well(tmp_path: Path) -> None:
    event = event_of("own_format", tmp_path)
    (event.data / "data").rename(event.kit / "data")
    beside = Event(tmp_path, event.kit, event.kit)
    first = beside.prepare().content["hashes"]
    (event.kit / "submissions" / "starting_kit" / "training_output").mkdir()
    (event.kit / "submissions" / "starting_kit" / "training_output" / "log").write_text("x")
    assert beside.prepare().content["hashes"] == first
    manifest = json.loads((beside.bundle / "public" / "manifest.json").read_text())
    assert manifest["has_test_labels"] is True
    assert "data" not in {path.name for path in (beside.bundle / "public" / "kit").iterdir()}


def test_bytecode_is_kept_of_ramp_and_not_of_a_kit(tmp_path: Path) -> None:
    event = bundled_event("iris", tmp_path)
    copied = tmp_path / "evaluation"
    shutil.copytree(EVALUATION, copied, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-I", str(copied), *event.prepare_arguments()]
    subprocess.run(command, check=True)
    kept = {path.relative_to(tmp_path).parent for path in tmp_path.rglob("*.pyc")}
    assert kept == {Path("evaluation", "__pycache__")}
    assert list(copied.glob("__pycache__/prepare.*.pyc"))  # the step, not only how it begins
