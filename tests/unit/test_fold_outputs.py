"""What a run leaves behind is taken as data, whoever wrote it."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.evaluation.left_outputs import LOG_HALF_BYTES
from ramp_engine.fold_outputs import (
    copy_fold,
    copy_log,
    copy_predictions,
    failure_message,
    open_untrusted,
    read_result,
)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A training_output with one good fold."""
    fold = tmp_path / "training_output" / "fold_0"
    fold.mkdir(parents=True)
    for name in ("y_pred_train.npz", "y_pred_test.npz", "train_time", "state.txt"):
        (fold / name).write_text(name)
    return fold.parent


def copied(output: Path) -> set[str]:
    target = output.parent / "copy"
    copy_predictions(output, target)
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}


def test_outputs_of_the_folds_are_copied(output: Path) -> None:
    names = ("y_pred_train.npz", "y_pred_test.npz", "train_time", "state.txt")
    assert copied(output) == {f"fold_0/{name}" for name in names}


def test_older_outputs_are_replaced(output: Path) -> None:
    copied(output)
    (output / "fold_0" / "train_time").unlink()
    assert "fold_0/train_time" not in copied(output)


def test_files_of_other_names_stay_behind(output: Path) -> None:
    for name in ("scores.csv", "model.pkl", "y_pred_train.npz.bak"):
        (output / "fold_0" / name).touch()
    (output / "bagged_scores.csv").touch()
    (output / "fold_0x").mkdir()
    (output / "fold_0x" / "train_time").touch()
    assert len(copied(output)) == 4


def test_links_pipes_and_directories_in_place_of_files_stay_behind(
    output: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    fold = output / "fold_0"
    (fold / "error.txt").symlink_to(tmp_path / "secret")
    os.mkfifo(fold / "test_time")
    (fold / "valid_time").mkdir()
    (output / "fold_1").symlink_to(fold)
    (fold / "limit.json").hardlink_to(tmp_path / "secret")
    assert len(copied(output)) == 4


def test_a_link_in_place_of_the_whole_output_is_not_followed(output: Path) -> None:
    link = output.with_name("link")
    link.symlink_to(output)
    assert copied(link) == set()


def test_without_outputs_there_is_an_empty_directory(tmp_path: Path) -> None:
    assert copied(tmp_path / "missing") == set()
    assert (tmp_path / "copy").is_dir()


def log(path: Path, content: bytes = b"") -> Any:
    path.write_bytes(content)
    return path.open("rb")


def test_a_log_is_copied_byte_for_byte(tmp_path: Path) -> None:
    content = b"bad \xff\x00 bytes\r\n"
    with log(tmp_path / "log", content) as file:
        copy_log(file, tmp_path / "logs" / "log")
    assert (tmp_path / "logs" / "log").read_bytes() == content


def test_of_a_huge_log_head_and_tail_are_kept(tmp_path: Path) -> None:
    """A sparse file of 1 TB: it is never read as a whole."""
    with log(tmp_path / "log", b"head") as file:
        os.truncate(tmp_path / "log", 1 << 40)
        with (tmp_path / "log").open("ab") as more:
            more.write(b"tail")
        copy_log(file, tmp_path / "copy")
    content = (tmp_path / "copy").read_bytes()
    n_left_out = (1 << 40) + 4 - 2 * LOG_HALF_BYTES
    assert content.startswith(b"head")
    assert content.endswith(b"tail")
    assert b"\n[... %d bytes left out ...]\n" % n_left_out in content
    assert len(content) < 2 * LOG_HALF_BYTES + 100


def test_a_log_replaces_a_link_and_does_not_write_through_it(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("untouched")
    (tmp_path / "target").symlink_to(tmp_path / "other")
    with log(tmp_path / "log", b"words") as file:
        copy_log(file, tmp_path / "target", 0o600)
    assert (tmp_path / "other").read_text() == "untouched"
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"), open_untrusted(tmp_path / "pipe"):
        pass


@pytest.mark.parametrize("text", ["", "no JSON", "[1, 2]", "\x00\xff", "[" * 100_000])
def test_a_result_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    assert read_result(tmp_path / "result.json") is None


def test_a_missing_result_is_none(tmp_path: Path) -> None:
    assert read_result(tmp_path / "result.json") is None


def fold(number: int, state: str, error: Any = None) -> dict[str, Any]:
    return {"fold": number, "state": state, "error": error}


TRACE = "Traceback (most recent call last):\n  File \"estimator.py\", line 3\nKeyError: 'petal'\n"


@pytest.mark.parametrize(
    ("result", "returncode", "headline"),
    [
        ({"folds": [fold(0, "tested"), fold(1, "tested")]}, 0, ""),
        (
            {"folds": [fold(0, "tested"), fold(1, "training_error", TRACE)]},
            1,
            "fold 1 failed while training: KeyError: 'petal'",
        ),
        (
            {"folds": [fold(0, "validating_error", TRACE)]},
            1,
            "fold 0 failed while predicting the training data: KeyError: 'petal'",
        ),
        (
            {"folds": [fold(0, "testing_error", "KeyError in line 3")]},
            1,
            "fold 0 failed while predicting the test data: KeyError in line 3",
        ),
        (
            {"error": {"message": "problem.py fails", "hint": "Mend it."}},
            3,
            "problem.py fails Mend it.",
        ),
        (None, 0, "the run ended as if all were well, but left no result: "),
        (None, 137, "the run was killed (SIGKILL): did it use more memory"),
        (None, 139, "the run was ended by SIGSEGV"),
        (None, 5, "the run ended with code 5 and left no result"),
        ({"folds": []}, 137, "the run was killed (SIGKILL)"),
        # what nobody would write honestly
        ({"folds": "none"}, 0, ""),
        ({"folds": [None, {"error": [1]}]}, 1, "fold None failed while running: [1]"),
        ({"error": "text"}, 1, "the run ended with code 1"),
    ],
)
def test_the_message_says_what_failed(
    result: dict[str, Any] | None, returncode: int, headline: str
) -> None:
    message = failure_message(result, returncode)
    assert message.split("\n\n")[0].startswith(headline)
    assert bool(message) == bool(headline)


def test_a_long_error_is_shortened_in_the_middle() -> None:
    trace = "Traceback\n" + "  line\n" * 10_000 + "ValueError: " + "x" * 1000
    message = failure_message({"folds": [fold(0, "training_error", trace)]}, 1)
    assert len(message) < 5000
    assert message.startswith("fold 0 failed while training: ValueError: xxx")


def test_a_log_that_is_no_file_on_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="fileno"):
        copy_log(io.BytesIO(b"words"), tmp_path / "copy")


def test_a_result_is_read(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"folds": []}))
    assert read_result(tmp_path / "result.json") == {"folds": []}


def test_a_fold_is_handed_over_in_place_of_what_was_collected_of_it(tmp_path: Path) -> None:
    source, target = tmp_path / "output", tmp_path / "predictions"
    (source / "fold_0").mkdir(parents=True)
    (source / "fold_0" / "state.txt").write_text("tested")
    (target / "fold_0").mkdir(parents=True)
    (target / "fold_0" / "state.txt").write_text("tes")
    assert copy_fold(source, target, 0, 100) == len("tested")
    assert [path.name for path in target.iterdir()] == ["fold_0"]
    assert (target / "fold_0" / "state.txt").read_text() == "tested"
