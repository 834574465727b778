"""Labels as one fold may see them: those of its training rows, nothing of the others.

The labels of all other rows, of its validation part and of no part, are put out of reach:

* Numbers with a fraction become NaN, and times NaT, also within lists, tuples, dictionaries and
  arrays of objects. A workflow that looks at them fails, or learns nothing.
* Anything else (classes, counts, text, truth values) becomes that of the fold's first training
  row: a value that is possible, so that no conversion of all labels fails.

The number of rows, the shape of a row, the type, the index of a series or frame and the categories
of a categorical column stay as they are; ``attrs`` of pandas do not.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import numbers
import sys
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import numpy as np

from .failure import KitError

#: What holds a value and nothing besides it.
_VALUES = (
    type(None), bool, numbers.Number, str, bytes, np.generic, decimal.Decimal, PurePath,
    dt.date, dt.time, dt.timedelta,
)  # fmt: skip


class _Rows:
    """Which rows are shown, and where the others take their labels from."""

    def __init__(self, n_rows: int, train: Any) -> None:
        self.shown = np.zeros(n_rows, dtype=bool)
        self.shown[train] = True
        if not self.shown.any():
            raise KitError("a fold has no training rows", "Mend get_cv.")
        self.first = int(np.argmax(self.shown))
        #: for each row the one whose label it gets
        self.source = np.where(self.shown, np.arange(n_rows), self.first)


def hide(y: Any, train: Any) -> Any:
    """Return labels of which only those of the training rows are told.

    Parameters
    ----------
    y : ndarray, list, Series or DataFrame
        Labels of all rows, along the first axis.
    train : ndarray
        Indices or mask of the rows that are shown, also where they belong to the validation part.

    Returns
    -------
    object
        Another one of the same type, shape and dtype; it shares no array with `y`.

    Raises
    ------
    KitError
        Labels of this kind cannot be hidden, since they might be reached in ways not known here.
    """
    rows = _Rows(len(y), train)
    if type(y) is np.ndarray:
        return _hide_in_array(y, rows)
    if type(y) is list:
        return _hide_in_list(y, rows)
    pandas = sys.modules.get("pandas")
    if pandas is not None and type(y) is pandas.Series:
        return _hide_in_series(y, rows)
    if pandas is not None and type(y) is pandas.DataFrame:
        columns = {i: _hide_in_series(y.iloc[:, i], rows) for i in range(y.shape[1])}
        hidden = pandas.DataFrame(columns, index=y.index)
        hidden.columns = y.columns
        return hidden
    raise _refusal(y)


def _hide_in_list(y: list[Any], rows: _Rows) -> list[Any]:
    _check(y)
    hidden, blank = list(y), _blank(y[rows.first])
    for row in np.flatnonzero(~rows.shown):
        hidden[row] = blank
    return hidden


def _refusal(value: Any) -> KitError:
    kind = type(value)
    return KitError(
        f"hide_validation_labels: y_train is or holds a {kind.__module__}.{kind.__qualname__}, "
        "whose labels cannot be hidden",
        "Have get_train_data return y as a numpy array, a list, a pandas Series or DataFrame of "
        "numbers, text, or lists, tuples, dictionaries and arrays of these; or take "
        "hide_validation_labels out of the section evaluation.",
    )


def _hide_in_array(y: Any, rows: _Rows) -> Any:
    hidden = y[rows.source]
    if y.dtype.kind in "fc":
        hidden[~rows.shown] = np.nan
    elif y.dtype.kind in "mM":
        hidden[~rows.shown] = "NaT"
    elif y.dtype.kind == "O":
        _check(y.ravel())
        return _hide_objects(y, rows)
    elif y.dtype.hasobject:
        raise _refusal(y)
    return hidden


def _hide_objects(y: Any, rows: _Rows) -> Any:
    items = np.array(y, order="C", copy=True).reshape(len(y), math.prod(y.shape[1:]))
    for column in range(items.shape[1]):
        blank = _blank(items[rows.first, column])
        for row in np.flatnonzero(~rows.shown):
            items[row, column] = blank
    return items.reshape(y.shape)


def _hide_in_series(y: Any, rows: _Rows) -> Any:
    import pandas as pd

    if isinstance(y.dtype, np.dtype):
        values = _hide_in_array(y.to_numpy(), rows)
    elif type(y.dtype).__module__.partition(".")[0] != "pandas":
        raise _refusal(y.dtype)
    elif pd.api.types.is_float_dtype(y.dtype) or pd.api.types.is_datetime64_any_dtype(y.dtype):
        values = y.array.take(np.where(rows.shown, rows.source, -1), allow_fill=True)
    else:
        values = y.array.take(rows.source)
    return pd.Series(values, index=y.index, name=y.name, dtype=y.dtype)


def _check(items: Iterable[Any]) -> None:
    """Refuse items that may hold more than their own value: a whole data set, say."""
    for item in items:
        if type(item) is dict:
            _check(item)
            _check(item.values())
        elif type(item) in (list, set, frozenset) or isinstance(item, tuple):
            _check(item)
        elif type(item) is np.ndarray:
            if item.dtype.hasobject:
                _check(item.ravel().tolist())
        elif not isinstance(item, _VALUES) and not _is_missing(item):
            raise _refusal(item)


def _is_missing(item: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and (item is pandas.NA or item is pandas.NaT)


def _blank(item: Any) -> Any:
    """Return a label made of one that is shown, with NaN for each number with a fraction."""
    if isinstance(item, (float, np.floating)):
        return type(item)("nan")
    if type(item) is np.ndarray:
        if item.dtype.kind in "fc":
            return np.full_like(item, np.nan)
        return item.copy()
    if type(item) is dict:
        return {key: _blank(value) for key, value in item.items()}
    if type(item) is list:
        return [_blank(one) for one in item]
    if isinstance(item, tuple):
        made = [_blank(one) for one in item]
        return type(item)(*made) if hasattr(item, "_fields") else tuple(made)
    return set(item) if type(item) is set else item
