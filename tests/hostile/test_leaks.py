"""No word of the test data reaches what a participant sees, whatever the submission does."""

from __future__ import annotations

import pytest

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
    "forges_the_release": "tested",
}


@pytest.mark.parametrize("name", LEAKS)
def test_test_data_stay_private(name: str, arena: Arena) -> None:
    aftermath = arena.run(name)
    assert aftermath.last["state"] == LEAKS[name]
    assert b"while training" in aftermath.log
    assert SECRET in aftermath.private_log
    assert SECRET not in aftermath.public()
    assert aftermath.survivors == []


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
