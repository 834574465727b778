"""What a fold may see of labels of each kind: those of its training rows, nothing of the others."""

from __future__ import annotations

import datetime as dt
import pickle
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from ramp_engine.evaluation.failure import KitError
from ramp_engine.evaluation.hidden_labels import hide

TRAIN = np.array([4, 1, 2])  #: row 3 is for validation, row 0 for nothing
HIDDEN = [0, 3]

Circle = namedtuple("Circle", "x y name")


def objects(*items: Any) -> Any:
    array = np.empty(len(items), dtype=object)
    for row, item in enumerate(items):
        array[row] = item
    return array


def plain(value: Any) -> str:
    """Return a label as something that compares by value, NaN included."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return f"[{', '.join(map(plain, value))}]" if isinstance(value, list) else repr(value)


def rows_of(y: Any) -> list[Any]:
    """Return the labels of rows by their place."""
    return [y.iloc[row] if hasattr(y, "iloc") else y[row] for row in range(len(y))]


def in_order(y: Any, order: list[int]) -> Any:
    """Return the rows of labels in another order; an index stays where it is."""
    if isinstance(y, list):
        return [y[row] for row in order]
    if isinstance(y, np.ndarray):
        return y[order]
    return y.iloc[order].set_axis(y.index)


DAYS = [f"2026-11-{day}" for day in (20, 21, 22, 23, 24)]
NUMBERS = [0.5, 1.5, 2.5, 3.5, 4.5]
#: Labels of five rows, and what stands for those that are hidden: NaN, or the label of row 1.
KINDS: dict[str, tuple[Any, Any]] = {
    "floats": (np.array(NUMBERS), np.nan),
    "short floats": (np.array(NUMBERS, dtype="f4"), np.float32("nan")),
    "complex numbers": (np.array(NUMBERS) * 1j, complex("nan")),
    "integers": (np.array([7, 8, 9, 10, 11]), 8),
    "bytes": (np.array([b"a", b"b", b"c", b"d", b"e"]), b"b"),
    "truth values": (np.array([True, False, True, True, True]), False),
    "text": (np.array(["a", "b", "c", "d", "e"]), "b"),
    "times": (np.array(DAYS, dtype="M8[D]"), np.datetime64("NaT", "D")),
    "durations": (np.array([1, 2, 3, 4, 5], dtype="m8[s]"), np.timedelta64("NaT", "s")),
    "several numbers": (np.arange(10.0).reshape(5, 2), [np.nan, np.nan]),
    "one-hot classes": (np.eye(5, dtype=int), [0, 1, 0, 0, 0]),
    "columns first": (np.asfortranarray(np.arange(10).reshape(5, 2)), [2, 3]),
    "images": (np.arange(20).reshape(5, 2, 2), [[4, 5], [6, 7]]),
    "no outputs": (np.zeros((5, 0)), []),
    "objects: text": (objects("a", "b", "c", "d", "e"), "b"),
    "objects: class and number": (
        np.array([["abcde"[row], NUMBERS[row]] for row in range(5)], dtype=object),
        ["b", float("nan")],
    ),
    "objects: lists of tuples": (
        objects(*([(value, 2, "x")] * row for row, value in enumerate(NUMBERS))),
        [(float("nan"), 2, "x")],
    ),
    "objects: arrays of other lengths": (
        objects(*(np.arange(row + 1) for row in range(5))),
        np.arange(2),
    ),
    "list of classes": (["a", "b", "c", "d", "e"], "b"),
    "list of numbers": (NUMBERS, float("nan")),
    "list of arrays": ([np.full(2, value) for value in NUMBERS], np.full(2, np.nan)),
    "list of dictionaries": (
        [{"box": [value, 1], "day": dt.date(2026, 11, int(2 * value))} for value in NUMBERS],
        {"box": [float("nan"), 1], "day": dt.date(2026, 11, 3)},
    ),
    "list of named tuples": (
        [Circle(value, row, "c") for row, value in enumerate(NUMBERS)],
        Circle(float("nan"), 1, "c"),
    ),
    "list of sets": ([{"a"}, {"b", "c"}, set(), {"d"}, {"e"}], {"b", "c"}),
    "series of numbers": (pd.Series(NUMBERS, index=list("vwxyz"), name="price"), float("nan")),
    "series of integers": (pd.Series([7, 8, 9, 10, 11], dtype="i2"), 8),
    "series of text": (pd.Series(["a", "b", "c", "d", "e"]), "b"),
    "series of objects": (pd.Series([[1], [2.5], [3], [4], [5]], dtype=object), [float("nan")]),
    "series of categories": (pd.Series(["a", "b", "c", "d", "e"], dtype="category"), "b"),
    "series of nullable integers": (pd.Series([7, 8, None, 10, 11], dtype="Int64"), 8),
    "series of nullable numbers": (pd.Series(NUMBERS, dtype="Float64"), pd.NA),
    "series of times with zones": (pd.Series(pd.to_datetime(DAYS, utc=True)), pd.NaT),
    "series that is sparse": (pd.Series(pd.arrays.SparseArray(NUMBERS)), float("nan")),
    "frame": (
        pd.DataFrame({"a": NUMBERS, "b": list("abcde"), "c": [7, 8, 9, 10, 11]}),
        [float("nan"), "b", 8],
    ),
    "frame with a name twice": (
        pd.DataFrame(np.arange(10).reshape(5, 2), columns=["a", "a"], index=DAYS),
        [2, 3],
    ),
}  # fmt: skip


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_training_rows_stay_and_of_others_nothing_is_told(kind: str) -> None:
    y, blank = KINDS[kind]
    labels = [plain(label) for label in rows_of(y)]
    hidden = hide(y, TRAIN)
    assert type(hidden) is type(y)
    shown = [plain(label) for label in rows_of(hidden)]
    assert [shown[row] for row in TRAIN] == [labels[row] for row in TRAIN]
    assert [shown[row] for row in HIDDEN] == [plain(blank)] * 2
    assert [plain(label) for label in rows_of(y)] == labels, "the labels themselves were changed"


def test_shape_dtype_index_and_names_stay(kind: str) -> None:
    y, _ = KINDS[kind]
    hidden = hide(y, TRAIN)
    assert len(hidden) == len(y)
    for name in ("shape", "dtype", "dtypes", "name"):
        assert str(getattr(hidden, name, None)) == str(getattr(y, name, None))
    for name in ("index", "columns"):
        if isinstance(y, pd.Series | pd.DataFrame) and hasattr(y, name):
            assert getattr(hidden, name).equals(getattr(y, name))


def test_what_is_hidden_does_not_depend_on_it(kind: str) -> None:
    y, _ = KINDS[kind]
    other = in_order(y, [3, 1, 2, 0, 4])
    assert pickle.dumps(hide(other, TRAIN)) == pickle.dumps(hide(y, TRAIN))


def test_masks_and_negative_indices_tell_the_training_rows() -> None:
    y = np.arange(4)
    assert hide(y, np.array([False, True, True, False])).tolist() == [1, 1, 2, 1]
    assert hide(y, np.array([-1])).tolist() == [3, 3, 3, 3]


def test_nothing_is_hidden_where_all_rows_are_for_training() -> None:
    y = np.arange(4.0)
    hidden = hide(y, np.arange(4))
    assert hidden.tolist() == y.tolist()
    assert not np.shares_memory(hidden, y)


def test_labels_in_the_attributes_of_a_frame_are_left_behind() -> None:
    y = pd.DataFrame({"a": [1.0, 2.0]})
    y.attrs["all"] = y["a"].tolist()
    assert hide(y, np.array([0])).attrs == {}


class Sample:
    """A label that knows the data set it is of."""

    def __init__(self, data: list[Any]) -> None:
        self.data = data


class Labels(np.ndarray):
    """An array that may hold more than its values."""


class Frame(pd.DataFrame):
    pass


RECORDS = np.zeros(2, dtype=[("name", "O"), ("n", "i4")])


@pytest.mark.parametrize(
    ("y", "named"),
    [
        (("a", "b"), "builtins.tuple"),
        ({0: "a", 1: "b"}, "builtins.dict"),
        ("ab", "builtins.str"),
        ([Sample([1]), Sample([2])], "Sample"),
        (objects("a", Sample([2])), "Sample"),
        (pd.Series([[1], [Sample([2])]]), "Sample"),
        ([{"a": ("b", Sample([]))}, {}], "Sample"),
        (np.zeros(2).view(Labels), "Labels"),
        (np.ma.masked_array([1, 2]), "MaskedArray"),
        (RECORDS, "numpy.ndarray"),
        (Frame({"a": [1, 2]}), "Frame"),
        (pd.Index([1, 2]), "Index"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_labels_of_which_too_little_is_known_are_refused(y: Any, named: str) -> None:
    with pytest.raises(KitError) as caught:
        hide(y, np.array([0]))
    assert named in caught.value.message
    assert "cannot be hidden" in caught.value.message
    assert "take hide_validation_labels out of the section evaluation" in caught.value.hint


def test_sparse_labels_have_no_length_for_folds_to_be_about(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="length is ambiguous"):
        hide(sparse.csr_matrix(np.eye(2)), np.array([0]))


def test_a_fold_without_training_rows_is_the_kits_fault() -> None:
    with pytest.raises(KitError, match="no training rows"):
        hide(np.arange(3), np.array([], dtype=int))
