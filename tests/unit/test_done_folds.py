"""What is kept of an attempt for the next one, and what is refused of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ramp_engine.attempt import AttemptDirectory
from ramp_engine.done_folds import DoneFolds, kept_directory, kept_submissions, marks, rescue

NAME = "submission_000000001"
MARKS = marks(bundle="bundle", environment="/env 1")


def write_fold(folder: Path, state: str = "tested") -> None:
    folder.mkdir(parents=True)
    for step in ("train", "test"):
        (folder / f"y_pred_{step}.npz").write_bytes(b"predictions")
    (folder / "state.txt").write_text(state)


class Made:
    """An attempt whose worker has handed over folds."""

    def __init__(
        self, work_dir: Path, number: int, made_with: dict[str, str] = MARKS, owner: int = 1
    ) -> None:
        root = work_dir / "attempts" / f"{NAME}-{number}-{owner}"
        self.directory = AttemptDirectory(root, NAME)
        self.directory.make()
        self.done = DoneFolds(self.directory, number, 3, lambda: made_with)
        self.kept = kept_directory(work_dir, NAME)

    def hand_over(self, *folds: int) -> None:
        for fold in folds:
            write_fold(self.directory.fold_predictions_dir / f"fold_{fold}")
        assert self.done.take(folds)

    def die(self) -> None:
        """Be killed, and be swept up."""
        assert rescue(self.directory, self.kept)
        self.directory.remove()

    @property
    def predictions(self) -> list[str]:
        folder = self.directory.fold_predictions_dir
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_folds_go_from_attempt_to_attempt_until_all_are_done(tmp_path: Path) -> None:
    first = Made(tmp_path, 1)
    first.hand_over(2)  # before the others
    first.die()
    assert list(kept_submissions(tmp_path).values()) == [1]
    second = Made(tmp_path, 2)
    second.done.adopt(second.kept)
    assert (second.done.missing, kept_submissions(tmp_path)) == ([0, 1], {})
    second.hand_over(0)
    second.die()
    third = Made(tmp_path, 3)
    third.done.adopt(third.kept)
    assert (third.done.origins, third.done.missing) == ({0: 2, 2: 1}, [1])
    write_fold(third.directory.fold_predictions_dir / "fold_1")
    third.done.give_back()
    assert third.predictions == ["fold_0", "fold_1", "fold_2"]


def test_who_dies_after_all_was_put_together_loses_nothing_either(tmp_path: Path) -> None:
    first = Made(tmp_path, 1)
    first.hand_over(0, 1)
    first.done.give_back()
    first.die()
    second = Made(tmp_path, 2)
    second.done.adopt(second.kept)
    assert second.done.missing == [2]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_run_that_is_adopted_twice_keeps_the_folds_of_all_its_owners(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    owners = {number: Made(tmp_path, 1, owner=number) for number in (1, 2, 3)}
    owners[1].hand_over(0)
    owners[2].done.adopt_from(owners[1].directory)
    owners[2].hand_over(1)
    owners[2].done.give_back()  # it dies before the predictions are published
    for number in order:  # the first one's directory stays, with nothing in it any more
        owners[3].done.adopt_from(owners[number].directory)
    assert owners[3].done.origins == {0: 1, 1: 1}
    owners[3].done.give_back()
    assert owners[3].predictions == ["fold_0", "fold_1"]


def test_what_was_made_with_something_else_is_thrown_away_and_named(tmp_path: Path) -> None:
    first = Made(tmp_path, 1)
    first.hand_over(0)
    first.die()
    second = Made(tmp_path, 2, marks(bundle="bundle", environment="/env 2"))
    second.done.adopt(second.kept)
    assert (second.done.origins, second.done.changed) == ({}, ("environment",))
    assert not second.kept.exists()
    assert not second.directory.done_dir.exists()


def truncate(kept: Path) -> None:
    (kept / "fold_0" / "y_pred_train.npz").write_bytes(b"")


def link(kept: Path) -> None:
    path = kept / "fold_0" / "y_pred_train.npz"
    path.rename(kept / "elsewhere")
    path.symlink_to(kept / "elsewhere")


def garble(kept: Path) -> None:
    (kept / "done.json").write_text("{")


@pytest.mark.parametrize("harm", [truncate, link, garble])
def test_a_fold_that_is_not_as_it_was_left_is_not_taken(tmp_path: Path, harm: object) -> None:
    first = Made(tmp_path, 1)
    first.hand_over(0)
    first.die()
    assert callable(harm)
    harm(first.kept)
    second = Made(tmp_path, 2)
    second.done.adopt(second.kept)
    assert second.done.missing == [0, 1, 2]
    assert not second.directory.done_dir.exists()


def test_nothing_is_taken_from_before_an_organiser_had_it_evaluated_anew(tmp_path: Path) -> None:
    first = Made(tmp_path, 1)
    first.hand_over(0)
    first.die()
    second = Made(tmp_path, 2)
    second.done.adopt(second.kept, after=1)
    assert second.done.missing == [0, 1, 2]


def test_only_folds_that_are_complete_and_of_the_event_are_taken(tmp_path: Path) -> None:
    made = Made(tmp_path, 1)
    write_fold(made.directory.fold_predictions_dir / "fold_0", "validated")
    write_fold(made.directory.fold_predictions_dir / "fold_3")
    assert not made.done.take([0, 1, 3, -1])
    assert made.done.missing == [0, 1, 2]
    assert not made.done.leave(with_collected=True)


def test_the_record_holds_no_key_of_the_worker(tmp_path: Path) -> None:
    made = Made(tmp_path, 1, marks(worker={"aws_secret": "hush"}))
    made.hand_over(0)
    record = (made.directory.done_dir / "done.json").read_text()
    assert "hush" not in record
    assert list(json.loads(record)["made_with"]) == ["worker"]
