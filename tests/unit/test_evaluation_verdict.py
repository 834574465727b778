"""Whose failure it was, as the parent of a fold sees it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ramp_engine.evaluation import arrays, child, verdict
from ramp_engine.evaluation.disk_use import MIN_FREE_BYTES
from ramp_engine.evaluation.forked_fold import Ending
from ramp_engine.evaluation.limits import Excess, Limits
from ramp_engine.evaluation.record import Record, RefusedReleaseError

FULL = "Traceback\nOSError: [Errno 28] No space left on device\n"


def exited(code: int, excess: Excess | None = None) -> Ending:
    """A fold that ended before it had predicted anything."""
    return Ending(code << 8, b"", False, 0.0, "", excess, 0.0)


@pytest.fixture
def task(tmp_path: Path) -> child.Task:
    folders = {name: tmp_path / name for name in ("submission", "output", "scratch", "bundle")}
    for folder in folders.values():
        folder.mkdir()
    return child.Task(fold=0, log=-1, facts=-1, go=-1, known_errors={}, has_test=True, **folders)


@pytest.fixture
def record(task: child.Task, tmp_path: Path) -> Record:
    return Record(task.output, tmp_path / "record")


@pytest.fixture
def leave_free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the disk tell of so much room [bytes]."""

    def leave(n_bytes: int) -> None:
        usage = SimpleNamespace(total=1 << 40, free=n_bytes)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    return leave


@pytest.mark.parametrize("report", ["", FULL])
def test_a_fold_that_fails_on_a_full_disk_is_not_the_participants_failure(
    report: str, task: child.Task, record: Record, leave_free: Callable[[int], None]
) -> None:
    code = child.EXIT_TOLD if report else child.EXIT_OURS
    if report:
        (task.output / "state.txt").write_text("training_error")
        (task.output / "error.txt").write_text(report)
    leave_free(MIN_FREE_BYTES)
    assert verdict.judge(task, exited(code), Limits(), record)[0]["state"] == "training_error"
    leave_free(MIN_FREE_BYTES - 1)
    with pytest.raises(OSError, match="full disk") as raised:
        verdict.judge(task, exited(code), Limits(), record)
    assert raised.value.errno == errno.ENOSPC


def test_who_fails_for_another_reason_on_a_full_disk_has_failed(
    task: child.Task, record: Record, leave_free: Callable[[int], None]
) -> None:
    leave_free(0)
    excess = Excess("output_mb", 60, 50)
    for ending in (exited(1), exited(child.EXIT_OURS, excess)):
        result, _ = verdict.judge(task, ending, Limits(), record)
        assert result["state"] == "training_error"


class Diary(Record):
    """A record that remembers in which order it was written."""

    def __init__(self, left: Path, folder: Path) -> None:
        super().__init__(left, folder)
        self.names: list[str] = []

    def note(self, name: str, text: str) -> None:
        super().note(name, text)
        self.names.append(name)


def test_the_state_is_written_when_all_else_is_there(task: child.Task, tmp_path: Path) -> None:
    """Who sees `tested` while other folds run finds the rest."""
    record = Diary(task.output, tmp_path / "diary")
    for name in ("train_time", "valid_time", "test_time"):
        (task.output / name).write_text("0.5")
    (task.output / "state.txt").write_text("tested")
    for suffix in ("train", "test"):
        arrays.write(np.ones((2, 2)), task.output, suffix)
    assert list(record.take_training()) != []
    ending = Ending(0, b"", True, 1.0, "", None, 0.0)
    assert verdict.judge(task, ending, Limits(), record)[0]["state"] == "tested"
    assert record.names == ["train_time", "valid_time", "test_time", "state.txt"]


def test_the_time_of_the_test_tells_no_more_than_a_clock(task: child.Task, record: Record) -> None:
    for name, seconds in (("train_time", "1.5"), ("valid_time", "0.5"), ("test_time", "0.123456")):
        (task.output / name).write_text(seconds)
    (task.output / "state.txt").write_text("tested")
    for suffix in ("train", "test"):
        arrays.write(np.zeros(3), task.output, suffix)
    list(record.take_training())
    for waited, told in ((2.0, 0.123), (0.1, 0.1)):
        arrays.write(np.zeros(3), task.output, "test")
        ending = Ending(0, b"", True, waited, "", None, 0.0)
        result, _ = verdict.judge(task, ending, Limits(), record)
        assert (result["state"], result["test_time"]) == ("tested", told)


def test_what_is_half_taken_is_removed(task: child.Task, record: Record, tmp_path: Path) -> None:
    with (task.output / "y_pred_train.npz").open("wb") as file:
        file.truncate(64 << 20)
    taking = record.take_training()
    next(taking)
    assert [path.name for path in (tmp_path / "record").iterdir()] == ["y_pred_train.npz"]
    taking.close()
    assert list((tmp_path / "record").iterdir()) == []


@pytest.mark.parametrize("missing", ["y_pred_train.npz", "train_time", "valid_time"])
def test_a_fold_is_not_released_before_all_is_there(
    missing: str, task: child.Task, record: Record
) -> None:
    for name in ("train_time", "valid_time"):
        (task.output / name).write_text("1")
    arrays.write(np.zeros(3), task.output, "train")
    (task.output / missing).unlink()
    with pytest.raises(RefusedReleaseError):
        list(record.take_training())
