"""What a submission does wrong is placed in its phase, with a reason, and ours goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kits.evaluation import Event, Result, bundled_event, run_many
from tests.kits.misdeeds import MISDEEDS, ODDITIES, WRONG, Misdeed

ALL = [*MISDEEDS, *ODDITIES, *WRONG]


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    event = bundled_event("iris", tmp_path_factory.mktemp("event"))
    assert event.prepare().code == 0
    return event


@pytest.fixture(scope="module")
def folds(event: Event) -> dict[str, Result]:
    """The fold step of every submission."""
    submissions = [misdeed.write(event.root / "submissions") for misdeed in ALL]
    results = run_many(
        [(event.fold_arguments(submission), event.log(submission)) for submission in submissions]
    )
    return dict(zip((submission.name for submission in submissions), results, strict=True))


@pytest.fixture(scope="module")
def scores(event: Event, folds: dict[str, Result]) -> dict[str, Result]:
    """The score step of those that are tested."""
    names = [misdeed.name for misdeed in (*ODDITIES, *WRONG)]
    commands = [
        (event.score_arguments(name, event.output(Path(name))), event.root / f"{name}.score.log")
        for name in names
    ]
    return dict(zip(names, run_many(commands), strict=True))


def by_name(misdeeds: list[Misdeed]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("misdeed", misdeeds, ids=[one.name for one in misdeeds])


@by_name(MISDEEDS)
def test_a_failure_has_its_phase_and_its_reason(
    misdeed: Misdeed, event: Event, folds: dict[str, Result]
) -> None:
    result = folds[misdeed.name]
    (fold,) = result.content["folds"]
    assert (result.code, fold["fold"], fold["state"]) == (1, 0, misdeed.state)
    error = fold["error"]
    assert error.startswith(misdeed.starts)
    assert [text for text in misdeed.says if text not in error] == []
    assert str(event.root) not in error
    output = event.output(Path(misdeed.name)) / "fold_0"
    assert (output / "state.txt").read_text() == misdeed.state
    assert (output / "error.txt").read_text() == error
    assert not (event.output(Path(misdeed.name)) / "fold_1").exists()


@by_name([one for one in MISDEEDS if one.state == "testing_error"])
def test_a_failure_in_the_test_does_not_tell_the_test_data(
    misdeed: Misdeed, event: Event, folds: dict[str, Result]
) -> None:
    seen = folds[misdeed.name].content["folds"][0]["error"] + folds[misdeed.name].log
    assert "petal_width" not in seen
    assert "Secret" not in seen
    private = event.private_log(Path(misdeed.name))
    assert private.stat().st_mode & 0o777 == 0o600
    if misdeed.name.startswith("tells"):
        assert "petal_width" in private.read_text()


@by_name(ODDITIES)
def test_an_oddity_is_tested_and_scored(
    misdeed: Misdeed, folds: dict[str, Result], scores: dict[str, Result]
) -> None:
    states = [fold["state"] for fold in folds[misdeed.name].content["folds"]]
    assert (folds[misdeed.name].code, states) == (0, ["tested", "tested"])
    result = scores[misdeed.name]
    assert result.code == 0
    assert result.content["bagged"]["acc"]["valid"] == pytest.approx(1 / 3, abs=0.05)


def test_what_is_printed_in_the_test_is_private(event: Event, folds: dict[str, Result]) -> None:
    log = folds["talks"].log
    assert log.count("while training") == 2
    assert "SECRET" not in log
    assert event.private_log(Path("talks")).read_text().count("SECRET") == 6


@by_name(WRONG)
def test_predictions_that_cannot_be_scored_are_told(
    misdeed: Misdeed, folds: dict[str, Result], scores: dict[str, Result]
) -> None:
    assert folds[misdeed.name].code == 0
    result = scores[misdeed.name]
    assert (result.code, result.error["state"], result.error["fold"]) == (1, misdeed.state, 0)
    assert [text for text in misdeed.says if text not in result.error["message"]] == []
