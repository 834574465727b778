"""No word of the test data reaches what a participant sees, whatever the submission does."""

from __future__ import annotations

import pytest

from ramp_engine.evaluation import arrays
from tests.hostile.harness import Arena

#: A word that all of these submissions print with the test data, and with nothing else.
SECRET = b"petal_width"

LEAKS = {
    "leak_by_copied_descriptors": "tested",
    "leak_by_a_thread": "tested",
    "leak_by_a_process": "tested",
    "leak_left_behind": "tested",
    "leak_by_files": "testing_error",
    "leak_by_times": "tested",
    "leak_by_training_predictions": "tested",
}


@pytest.mark.parametrize("name", LEAKS)
def test_test_data_stay_private(name: str, arena: Arena) -> None:
    aftermath = arena.run(name)
    assert aftermath.last["state"] == LEAKS[name]
    assert b"while training" in aftermath.log
    assert SECRET in aftermath.private_log
    assert SECRET not in aftermath.public()
    assert aftermath.survivors == []


def test_predictions_of_the_training_data_are_those_before_the_test_data(arena: Arena) -> None:
    aftermath = arena.run("leak_by_training_predictions")
    for fold in aftermath.folds:
        folder = aftermath.output / f"fold_{fold['fold']}"
        assert sorted(path.name for path in folder.iterdir()) == [
            "state.txt", "test_time", "train_time", "valid_time", "y_pred_test.npz",
            "y_pred_train.npz",
        ]  # fmt: skip
        assert (arrays.read(folder, "train", arrays.Expected(100, 3)) == 1 / 3).all()
        assert (folder / "train_time").read_text() == str(fold["train_time"])
    assert len(aftermath.folds) == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("forges_the_release", "they were not there when the code was done"),
        ("hides_training_predictions", "y_pred_train.npz is not a regular file"),
    ],
)
def test_who_leaves_no_predictions_of_the_training_data_gets_no_test_data(
    name: str, reason: str, arena: Arena
) -> None:
    aftermath = arena.run(name)
    report = f"The predictions of the training data cannot be used: {reason}.\n"
    assert (aftermath.code, aftermath.last["state"]) == (1, "validating_error")
    assert aftermath.last["error"] == report
    assert report.encode() in aftermath.log
    assert SECRET not in aftermath.public() + aftermath.private_log
    assert aftermath.survivors == []


def test_who_ends_by_the_exit_code_of_the_platform_has_failed(arena: Arena) -> None:
    aftermath = arena.run("ends_like_ramp")
    assert (aftermath.code, aftermath.last["state"]) == (1, "training_error")
    assert aftermath.last["error"].startswith("The code ended its own process (exit code 70)")


def test_times_of_training_are_those_of_training(arena: Arena) -> None:
    aftermath = arena.run("leak_by_times")
    for fold in aftermath.folds:
        assert fold["train_time"] < 123456
        text = (aftermath.output / f"fold_{fold['fold']}" / "train_time").read_text()
        assert float(text) == fold["train_time"]
    assert aftermath.limit == ""


def test_a_forged_limit_is_removed(arena: Arena) -> None:
    aftermath = arena.run("leak_by_files")
    assert aftermath.limit == ""


def test_who_closes_our_descriptors_is_told(arena: Arena) -> None:
    aftermath = arena.run("closes_descriptors")
    assert aftermath.last["state"] == "validating_error"
    assert "closed file descriptors" in aftermath.last["error"]


def test_who_talks_nonsense_to_the_parent_harms_nobody_else(arena: Arena) -> None:
    aftermath = arena.run("talks_nonsense")
    assert aftermath.last["state"] == "testing_error"
    assert b"while training" in aftermath.log
    assert SECRET not in aftermath.public()
    assert aftermath.survivors == []
