"""What an attempt leaves behind is somebody else's: only plain files of known names are taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ramp_database.queue import Claim
from ramp_engine import attempt
from ramp_engine.outcome import LimitFacts


def fold(root: Path, index: int = 0, **files: str) -> Path:
    directory = root / f"fold_{index}"
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def test_facts_come_in_the_order_of_the_folds(tmp_path: Path) -> None:
    for index in (10, 2, 0):
        fold(tmp_path, index, state__txt="tested\n", y_pred_train__npz="x")
    fold(tmp_path, 11, state__txt="training_error", error__txt="ValueError: no")
    folds = attempt.read_folds(tmp_path)
    assert [facts.fold for facts in folds] == [0, 2, 10, 11]
    assert folds[0].state == "tested"
    assert folds[0].has_predictions
    assert (folds[3].error, folds[3].has_predictions) == ("ValueError: no", False)


def test_a_missing_directory_has_no_facts(tmp_path: Path) -> None:
    assert attempt.read_folds(tmp_path / "nothing") == ()


def test_bad_bytes_in_a_text_are_shown_and_do_no_harm(tmp_path: Path) -> None:
    (fold(tmp_path) / "error.txt").write_bytes(b"caf\xff\x00")
    assert attempt.read_folds(tmp_path)[0].error == "caf\\xff\x00"


def test_a_huge_text_is_left_out(tmp_path: Path) -> None:
    (fold(tmp_path) / "error.txt").write_text("x" * (attempt.MAX_TEXT_BYTES + 1))
    assert attempt.read_folds(tmp_path)[0].error is None


def test_only_predictions_and_times_are_staged(tmp_path: Path) -> None:
    source = tmp_path / "source"
    fold(source, y_pred_train__npz="a", y_pred_test__json="b", train_time="1", scores__csv="1.0")
    (source / "bagged_scores.csv").write_text("1.0")
    (source / "fold_1x").mkdir()
    staged = attempt.stage_predictions(source, tmp_path / "predictions", "one", "bundle")
    fold_0 = {"y_pred_train.npz", "y_pred_test.json", "train_time"}
    names = {"bundle.txt", "fold_0", *(f"fold_0/{name}" for name in fold_0)}
    assert tree(staged) == names


def test_no_link_and_no_pipe_is_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "y_pred_train.npz").write_text("secret")
    source = tmp_path / "source"
    directory = fold(source)
    (directory / "y_pred_train.npz").symlink_to(secret / "y_pred_train.npz")
    (directory / "error.txt").symlink_to(secret / "y_pred_train.npz")
    os.mkfifo(directory / "y_pred_test.npz")
    (source / "fold_1").symlink_to(secret, target_is_directory=True)
    assert attempt.read_folds(source)[0].error is None
    staged = attempt.stage_predictions(source, tmp_path / "predictions", "one", "bundle")
    assert tree(staged) == {"bundle.txt", "fold_0"}


def test_publishing_replaces_all_of_the_older_directory(tmp_path: Path) -> None:
    target = tmp_path / "submission_000000001"
    for content in ("old", "new"):
        staged = tmp_path / ".staged"
        staged.mkdir()
        (staged / content).write_text(content)
        attempt.publish(staged, target)
    assert tree(tmp_path) == {target.name, f"{target.name}/new"}


def test_an_attempt_starts_with_empty_directories(tmp_path: Path) -> None:
    directory = attempt.attempt_directory(tmp_path, "submission_000000001", Claim(1, 2, 7))
    directory.make()
    (directory.submissions_dir / "left").write_text("over")
    directory.make()
    assert list(directory.submissions_dir.iterdir()) == []
    directory.remove()
    directory.remove()
    assert not directory.root.exists()


def test_logs_are_copied_as_bytes_and_the_private_one_is_private(tmp_path: Path) -> None:
    logs = tmp_path / "attempt"
    logs.mkdir(parents=True)
    (logs / "log").write_bytes(b"bad \xff and \x00")
    (logs / "private.log").write_text("test data")
    (logs / "other").write_text("x")
    staged = attempt.stage_logs(logs, tmp_path / "logs", "one")
    assert tree(staged) == {"log", "private.log"}
    assert (staged / "log").read_bytes() == b"bad \xff and \x00"
    assert (staged / "private.log").stat().st_mode & 0o777 == 0o600


def test_publishing_again_after_a_commit_that_failed_changes_nothing(tmp_path: Path) -> None:
    staged, target = tmp_path / ".staged", tmp_path / "target"
    staged.mkdir()
    attempt.publish(staged, target)
    attempt.publish(staged, target)
    assert tree(tmp_path) == {"target"}


def test_predictions_say_with_which_bundle_they_were_made_until_they_are_rewritten(
    tmp_path: Path,
) -> None:
    fold(tmp_path / "source", y_pred_train__npz="a")
    staged = attempt.stage_predictions(tmp_path / "source", tmp_path / "predictions", "one", "abc")
    assert attempt.made_with(staged) == "abc"
    assert attempt.made_with(tmp_path / "source") is None
    assert attempt.made_with(tmp_path / "nothing") is None


#: Of what is staged, and of what was moved aside for it.
ENDS = ("", ".scored", ".old", ".scored.old")


def test_what_attempts_left_is_known_by_their_claims(tmp_path: Path) -> None:
    claim = Claim(submission_id=12, attempt=3, dispatcher_id=4)
    directory = attempt.attempt_directory(tmp_path, "submission_000000012", claim)
    staged = [tmp_path / "logs" / f".{directory.root.name}{end}" for end in ENDS]
    others = [tmp_path / "logs" / "submission_000000012", tmp_path / "attempts" / "kit-alone"]
    for path in (directory.root, *staged, *others):
        path.mkdir(parents=True)
    found = attempt.left_on_disk(*(tmp_path / name for name in ("attempts", "logs", "nothing")))
    assert found == dict.fromkeys([directory.root, *staged], claim)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"limit": "memory"}', '{"figure": "NaN"}', "1"])
def test_what_is_said_of_a_limit_must_make_sense(tmp_path: Path, text: str) -> None:
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "limit.json").write_text(text)
    assert attempt.read_folds(tmp_path)[0].limit is None


def test_a_limit_is_read_with_its_figures(tmp_path: Path) -> None:
    (tmp_path / "fold_0").mkdir()
    said = '{"limit": "memory", "figure": 3174.2, "allowed": 3072, "unit": "MB", "phase": "x"}'
    (tmp_path / "fold_0" / "limit.json").write_text(said)
    limit = attempt.read_folds(tmp_path)[0].limit
    assert limit == LimitFacts("memory", 3174.2, 3072.0, "MB")
