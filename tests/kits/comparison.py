"""Compare what the score step writes with what ``ramp-test --save-output`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_TIMES = {"train_time", "valid_time", "test_time"}


def differences(ours: Path, theirs: Path) -> list[str]:
    """Return the names of the files that differ, but for the times that were measured."""
    names = {path.relative_to(root) for root in (ours, theirs) for path in root.rglob("*.*")}
    names |= {path.relative_to(root) for root in (ours, theirs) for path in root.rglob("*_time")}
    return sorted(str(name) for name in names if not _is_same(ours / name, theirs / name))


def _is_same(ours: Path, theirs: Path) -> bool:
    if not (ours.is_file() and theirs.is_file()):
        return False
    if ours.name in _TIMES:
        return float(ours.read_text()) >= 0
    if ours.name == "scores.csv":
        return _without_time(ours) == _without_time(theirs)
    if ours.suffix == ".npz":
        return _is_same_array(_array(ours), _array(theirs))
    return ours.read_bytes() == theirs.read_bytes()


def _without_time(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    assert lines[0].endswith(",time")
    return [line.rpartition(",")[0] for line in lines]


def _array(path: Path) -> Any:
    with np.load(path, allow_pickle=True) as arrays:
        assert arrays.files == ["y_pred"]
        return arrays["y_pred"]


def _is_same_array(ours: Any, theirs: Any) -> bool:
    if ours.dtype.hasobject:
        return repr(ours.tolist()) == repr(theirs.tolist())
    return (
        ours.dtype == theirs.dtype
        and ours.shape == theirs.shape
        and ours.tobytes() == theirs.tobytes()
    )
