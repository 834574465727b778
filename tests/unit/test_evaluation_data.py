"""Data on its way through the evaluation: predictions, folds, files, reports."""

from __future__ import annotations

import ast
import os
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ramp_engine.evaluation import arrays, data_files, failure, fingerprint, kit, nested, private

EVALUATION = Path(arrays.__file__).parent
MODULES = sorted(EVALUATION.glob("*.py"))


# --- the package


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_is_python_39_and_imports_nothing_of_the_project(module: Path) -> None:
    tree = ast.parse(module.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        assert not [name for name in names if name.startswith(("ramp_engine", "ramp_database"))]


# --- predictions


def objects(*items: Any) -> Any:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


@pytest.mark.parametrize(
    "item",
    [
        None,
        "é\udcff",
        0.1 + 0.2,
        float("inf"),
        2**70,
        True,
        [],
        [(0.5, np.float64(1) / 3, np.int32(4), "x")],
        {"box": [1, 2], 3: None},
        np.arange(6, dtype="<f4").reshape(2, 3) / 7,
        np.array([["a", "bc"]]),
        objects([1], (2,), None),
        np.zeros((0, 4)),
        np.str_("text"),
        np.bool_(True),
    ],
    ids=repr,
)
def test_objects_come_back_as_they_were(item: Any) -> None:
    array = nested.loads(nested.dumps(objects(item, [item])))
    assert array.shape == (2,)
    assert repr(array.tolist()) == repr([item, [item]])
    assert type(array[0]) is type(item)


@pytest.mark.parametrize("item", [object(), b"bytes", 1j, {1, 2}, np.datetime64("2020-01-01")])
def test_what_is_not_data_is_not_written(item: Any) -> None:
    with pytest.raises(TypeError):
        nested.dumps(objects(item))


def test_nan_survives() -> None:
    assert np.isnan(nested.loads(nested.dumps(objects(float("nan"))))[0])


@pytest.mark.parametrize(
    ("y_pred", "reason"),
    [
        (None, "are None"),
        ([[1], [1, 2]], "cannot be made an array"),
        (3.0, "one object (float)"),
        ({"a": 1}, "one object (dict)"),
    ],
)
def test_predictions_that_are_no_array_are_refused(y_pred: Any, reason: str) -> None:
    with pytest.raises(arrays.RefusedPredictionsError) as caught:
        arrays.to_array(y_pred)
    assert reason in str(caught.value)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "?", "U5", "c16"])
def test_numbers_and_text_are_read_as_they_were_written(dtype: str, tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(12).reshape(4, 3).astype(dtype))
    arrays.write(array, tmp_path, "test")
    read = arrays.read(tmp_path, "test", arrays.Expected(4, 3))
    assert (read.dtype, read.tolist()) == (array.dtype, array.tolist())
    assert read.flags.f_contiguous


@pytest.mark.parametrize(
    ("n_columns", "shape", "fits"),
    [
        (3, (4, 3), True),
        (3, (4,), False),
        (3, (4, 2), False),
        (3, (5, 3), False),
        (0, (4,), True),
        (0, (4, 1), False),
        (None, (4, 7, 2), True),
        (None, (3, 7), False),
        (None, (), False),
    ],
)
def test_a_shape_is_checked(n_columns: int | None, shape: tuple[int, ...], fits: bool) -> None:
    expected = arrays.Expected(4, n_columns)
    if fits:
        expected.check(shape)
    else:
        with pytest.raises(arrays.RefusedPredictionsError, match="must have"):
            expected.check(shape)


def test_rows_with_nan_are_counted() -> None:
    assert arrays.count_nan(np.array([[1, np.nan], [np.nan, np.nan], [1, 2]])) == 2
    assert arrays.count_nan(np.array([1, 2])) == 0
    assert arrays.count_nan(objects(None)) == 0


# --- folds


def test_folds_may_be_lists_masks_ranges_and_slices() -> None:
    mask = np.array([True, False, True])
    folds = kit.check_folds([(range(2), [2]), (mask, slice(1, 3)), ([], [-1])], 3)
    assert [[part.tolist() for part in fold] for fold in folds] == [
        [[0, 1], [2]],
        [[True, False, True], [1, 2]],
        [[], [-1]],
    ]


def test_the_hash_of_folds_is_that_of_their_indices() -> None:
    def hashed(*folds: Any) -> str:
        return fingerprint.folds_hash(kit.check_folds(folds, 10))

    first = hashed(([0, 1], [2]))
    assert first == hashed((np.array([0, 1], dtype="u1"), np.array([2], dtype="i4")))
    others = [hashed(([0], [1, 2])), hashed(([1, 0], [2])), hashed(([0, 1], [2]), ([0], [1]))]
    assert len({first, *others}) == 4


# --- files that X refers to


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("train.csv", "images/1.png", "images/2", "images/deep/3.png", "labels.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    (tmp_path / "outside.png").write_text("outside")
    return tmp_path / "data"


Named = namedtuple("Named", ["folder", "names"])


def test_files_are_found_in_containers_of_all_kinds(data: Path) -> None:
    one, two = "images/1.png", "images/2"
    frame = pd.DataFrame({"n": [1, 2], "path": [one, two]})
    for X in (
        [one, two],
        (one, [two]),
        {"a": one, "b": [f"./{two}"]},
        np.array([one, two]),
        np.array([one, two], dtype=object),
        frame,
        frame["path"],
        frame["path"].astype("category"),
        ("images", ["1.png", "2"]),
        ("images", np.array(["1.png", 2], dtype=object)),
        {"folder": Path("images"), "names": np.array(["1.png", "2"])},
        Named("images/", ["1.png", "2"]),
    ):
        relocated, files = data_files.relocate(X, data)
        assert files == [one, two], X
        assert relocated is X


def test_numbers_are_names_beside_a_folder_only(data: Path) -> None:
    assert data_files.relocate(("images", np.array([2, 7])), data)[1] == ["images/2"]
    assert data_files.relocate((np.array([2, 7]), [2]), data)[1] == []


def test_absolute_paths_become_relative(data: Path) -> None:
    path, folder = str(data / "images" / "1.png"), str(data / "images")
    found = ["images/1.png"]
    assert data_files.relocate([path, "other"], data) == (["images/1.png", "other"], found)
    assert data_files.relocate((folder, ["1.png"]), data) == (("images", ["1.png"]), found)
    assert data_files.relocate({"a": Path(path)}, data) == ({"a": Path("images/1.png")}, found)
    assert data_files.relocate(Named(folder, ["1.png"]), data)[0] == Named("images", ["1.png"])
    array, files = data_files.relocate(np.array([path]), data)
    assert (array.dtype.kind, array.tolist(), files) == ("U", ["images/1.png"], found)
    frame = pd.DataFrame({"path": [path, None], "n": [1, 2]}, index=["x", "y"])
    changed, files = data_files.relocate(frame, data)
    assert (changed["path"].iloc[0], list(changed.index), files) == (found[0], ["x", "y"], found)
    assert changed["n"].dtype == frame["n"].dtype


def test_nothing_outside_the_data_is_taken(data: Path) -> None:
    outside = [
        str(data.parent / "outside.png"),
        "../outside.png",
        "/etc/passwd",
        "a\0b",
        "x" * 9999,
    ]
    assert data_files.relocate(outside, data) == (outside, [])
    text = ["some text", "images", "", "."]
    assert data_files.relocate(np.array(text), data)[1] == []


def test_linked_files_are_seen_together_and_what_is_written_stays_apart(tmp_path: Path) -> None:
    for part, name in (("train", "1"), ("test", "2")):
        (tmp_path / part / "data" / "images").mkdir(parents=True)
        (tmp_path / part / "data" / "images" / name).write_text(part)
    (tmp_path / "work").mkdir()
    data_files.link(tmp_path / "train", tmp_path / "work")
    assert (tmp_path / "work" / "data").is_symlink()
    data_files.link(tmp_path / "test", tmp_path / "work")
    images = tmp_path / "work" / "data" / "images"
    assert {path.name: path.read_text() for path in images.iterdir()} == {"1": "train", "2": "test"}
    (images / "new").write_text("new")
    assert [path.name for path in (tmp_path / "train" / "data" / "images").iterdir()] == ["1"]


def test_the_files_of_a_kit_are_those_that_matter(tmp_path: Path) -> None:
    for name in (
        "problem.py",
        "external_imports/a/b.py",
        "external_imports/a/__pycache__/b.pyc",
        "data/train.csv",
        ".git/config",
        "submissions/starting_kit/estimator.py",
        "submissions/starting_kit/training_output/fold_0/scores.csv",
        "submissions/other/estimator.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "external_imports" / "circle").symlink_to(tmp_path, target_is_directory=True)
    assert fingerprint.kit_files(tmp_path) == [
        "external_imports/a/b.py",
        "problem.py",
        "submissions/starting_kit/estimator.py",
    ]


# --- what is told


def raised(code: str, path: str) -> BaseException:
    try:
        exec(compile(code, path, "exec"), {})  # noqa: S102
    except ValueError as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_report_starts_in_the_participants_file_and_hides_where_it_lies() -> None:
    error = raised("def f():\n  int('x')\nf()", "/secret/place/estimator.py")
    report = failure.participant_report(error, "/secret/place")
    assert report.startswith('Traceback (most recent call last):\n  File "estimator.py", line 3')
    assert "test_evaluation" not in report
    assert "secret" not in report


def test_a_long_report_loses_its_middle() -> None:
    report = failure.participant_report(raised("raise ValueError('x' * 10**6)", "/s/e.py"), "/s")
    assert len(report) < failure.MAX_REPORT + 100
    assert "characters left out" in report


@pytest.mark.parametrize(
    ("status", "says"),
    [(0, "exit code 0"), (3 << 8, "exit code 3"), (9, "SIGKILL"), (11, "SIGSEGV"), (6, "SIGABRT")],
)
def test_a_death_is_told_in_a_sentence(status: int, says: str) -> None:
    report = failure.death_report(status, "training_error")
    assert says in report
    assert "while training" in report


def test_facts_are_checked_before_they_are_told(tmp_path: Path) -> None:
    (tmp_path / "estimator.py").write_text("one\ntwo\n")
    known = private.known_errors()
    error = raised("\nint('secret')", str(tmp_path / "estimator.py"))
    report = private.report(private.facts(error, str(tmp_path), known), tmp_path, known)
    assert report is not None
    assert report.startswith("ValueError at estimator.py, line 2, while")
    assert "secret" not in report
    forged = b'{"error": "Secret", "path": "../secret.py", "line": 2}'
    assert private.report(forged, tmp_path, known) == report.replace(
        "ValueError at estimator.py, line 2,", "Exception"
    )
    too_far = b'{"error": "KeyError", "path": "estimator.py", "line": 123456789}'
    assert "12345" not in (private.report(too_far, tmp_path, known) or "")
    for broken in (b"", b"[]", b"\xff", b'{"error": 1}'):
        assert private.report(broken, tmp_path, known) is None


def test_the_environment_is_named_by_its_packages() -> None:
    lock = fingerprint.environment_lock()
    assert lock[0].startswith("python==3.")
    assert f"numpy=={np.__version__}" in lock
    assert os.sep not in "".join(lock)
