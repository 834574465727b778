"""Three steps on two sides give the files and the numbers of ``ramp-test --save-output``."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.kits.comparison import differences
from tests.kits.evaluation import (
    Event,
    bundled_event,
    event_of,
    ramp_test,
    run_many,
)


def evaluate(event: Event, submission: Path) -> Path:
    assert event.prepare().code == 0
    fold = event.fold(submission)
    assert (fold.code, [one["state"] for one in fold.content["folds"]]) == (
        0,
        ["tested"] * event.prepared["n_folds"],
    )
    score = event.score(submission)
    assert score.code == 0, score.log
    return event.scored(submission)


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_a_bundled_event_is_scored_as_by_ramp_test(name: str, tmp_path: Path) -> None:
    event = bundled_event(name, tmp_path)
    submission = event.kit / "submissions" / "starting_kit"
    ours = evaluate(event, submission)
    assert differences(ours, ramp_test(event, submission)) == []
    assert (ours / "bagged_scores.csv").exists()


@pytest.mark.parametrize("name", ["regression", "combined", "own_format"])
def test_a_kit_is_scored_as_by_ramp_test(name: str, tmp_path: Path) -> None:
    event = event_of(name, tmp_path)
    submission = event.kit / "submissions" / "starting_kit"
    ours = evaluate(event, submission)
    assert differences(ours, ramp_test(event, submission)) == []
    assert (ours / "bagged_scores.csv").exists()
    has_own_format = (ours / "fold_0" / "y_pred_test.csv").exists()
    assert has_own_format is (name == "own_format")
    assert (ours / "submission_bagged_test.txt").exists() is (name == "own_format")


#: Kit, style of its data, label of its data, files that it brings to the folds.
OTHERS = [
    ("labelled", "", "south", 0),
    ("files", "folder", None, 64),
    ("files", "relative", None, 64),
    ("files", "absolute", None, 64),
    ("detection", "", None, 0),
    ("bare", "", None, 0),
]


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """Kits of other kinds, evaluated."""
    events = []
    for kit, style, label, _ in OTHERS:
        events.append(event_of(kit, tmp_path_factory.mktemp(kit), style, label))
    prepared = run_many([(event.prepare_arguments(), event.root / "log") for event in events])
    for event, result in zip(events, prepared, strict=True):
        assert result.code == 0, result.log
        event.prepared = result.content
    submission = Path("kit", "submissions", "starting_kit")
    folds = [event.fold_arguments(event.root / submission) for event in events]
    scores = [event.score_arguments("starting_kit", event.output(submission)) for event in events]
    for commands in (folds, scores):
        logs = [event.root / "log" for event in events]
        for result in run_many(list(zip(commands, logs, strict=True))):
            assert result.code == 0, result.log
    return events


@pytest.mark.parametrize("index", range(len(OTHERS)), ids=["-".join(o[:2]) for o in OTHERS])
def test_a_kit_of_another_kind_is_scored_as_by_ramp_test(index: int, others: list[Event]) -> None:
    event = others[index]
    submission = event.kit / "submissions" / "starting_kit"
    assert differences(event.scored(submission), ramp_test(event, submission)) == []
    files = [path for path in (event.bundle / "public").glob("*/files/**/*") if path.is_file()]
    assert len(files) == OTHERS[index][3]
    assert not list((event.bundle / "public").rglob("limit.txt"))


def test_the_result_has_the_numbers_of_the_files(others: list[Event]) -> None:
    event = others[0]
    content = run_many(
        [(event.score_arguments("again", event.output(Path("starting_kit"))), event.root / "log")]
    )[0].content
    rows = list(csv.DictReader((event.root / "scored/again/fold_1/scores.csv").open()))
    scores = content["folds"][1]["scores"]
    assert {row["step"]: float(row["rmse"]) for row in rows} == scores["rmse"]
    assert {row["step"]: float(row["time"]) for row in rows} == content["folds"][1]["times"]
    bagged = list(csv.DictReader((event.root / "scored/again/bagged_scores.csv").open()))
    last = {row["step"]: float(row["rmse"]) for row in bagged if row["n_bag"] == "1"}
    assert content["bagged"] == {"rmse": last}


def test_without_test_labels_there_are_no_test_scores(others: list[Event]) -> None:
    event = others[-1]
    assert event.prepared["n_test"] is None
    content = run_many(
        [(event.score_arguments("again", event.output(Path("starting_kit"))), event.root / "log")]
    )[0].content
    assert len(content["folds"]) == 30
    assert content["folds"][0]["scores"]["rmse"]["test"] is None
    assert content["bagged"]["rmse"]["test"] is None
