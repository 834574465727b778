"""The blend step gives the files and numbers of ``ramp-blend``, and does only what is new."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kits.blending import Blending, evaluate_all
from tests.kits.evaluation import Event, bundled_event, event_of

SUBMISSIONS = {
    "iris": ("starting_kit", "sepals", "random_forest"),
    "digits": ("starting_kit", "column_means"),
}


def evaluated(name: str, root: Path) -> Event:
    event = bundled_event(name, root)
    assert event.prepare().code == 0
    evaluate_all(event, [event.kit / "submissions" / one for one in SUBMISSIONS[name]])
    return event


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Event:
    return evaluated("iris", tmp_path_factory.mktemp("iris"))


@pytest.fixture
def blending(iris: Event) -> Any:
    """Two submissions of the iris kit, scored, that leave room for others."""
    made = filled(iris, "starting_kit", "sepals")
    yield made
    shutil.rmtree(made.root)


@pytest.fixture(scope="module")
def regression_event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    event = event_of("regression", tmp_path_factory.mktemp("regression"))
    assert event.prepare().code == 0
    evaluate_all(event, [event.kit / "submissions" / "starting_kit"])
    return event


@pytest.fixture
def regression(regression_event: Event) -> Any:
    """An event with a score that has no ties, so that many submissions are worth adding."""
    made = Blending(regression_event)
    yield made
    shutil.rmtree(made.root)


def filled(event: Event, *names: str) -> Blending:
    made = Blending(event)
    for name in names:
        made.add(event.root / "scored" / name)
    return made


def mix(blending: Blending, n: int, **options: Any) -> list[str]:
    """Add submissions that are each good at something else; give their names."""
    scored = blending.event.root / "scored"
    best = max(scored.iterdir(), key=lambda folder: folder.name == "random_forest")
    return [
        blending.add_mixed(best, seed, **{"weight": 0.35, **options})
        for seed in range(blending.n, blending.n + n)
    ]


def percents(content: dict[str, Any]) -> dict[str, float]:
    return {row["name"]: row["percent"] for row in content["submissions"]}


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_a_bundled_event_is_blended_as_by_ramp_blend(name: str, tmp_path: Path) -> None:
    blending = filled(evaluated(name, tmp_path), *SUBMISSIONS[name])
    scored = blending.event.root / "scored"
    blending.add_mixed(scored / "starting_kit", 1)
    blending.add_mixed(scored / SUBMISSIONS[name][1], 2, 0.8)
    result = blending.run_command()
    assert result.code == 0, result.log
    content = result.content
    assert blending.differing_files(blending.run_ramp_blend()) == []
    assert sum(percents(content).values()) == pytest.approx(100)
    for row in content["submissions"]:
        assert row["percent"] == pytest.approx(100 * sum(row["folds"]))


def test_many_submissions_are_blended_as_by_ramp_blend(blending: Blending) -> None:
    mix(blending, 30)
    content = blending.blended()
    assert blending.differing_files(blending.ramp_blend()) == []
    assert sum(percent > 0 for percent in percents(content).values()) > 5


@pytest.mark.parametrize("dtypes", [("float32",), ("float32", "float64")])
def test_predictions_of_other_types_are_blended_as_by_ramp_blend(
    blending: Blending, dtypes: tuple[str, ...]
) -> None:
    for dtype in dtypes:
        mix(blending, 8, dtype=dtype)
    if len(dtypes) == 1:
        for n in (1, 2):
            shutil.rmtree(blending.root / "submissions" / f"submission_{n:09d}")
            del blending.attempts[f"submission_{n:09d}"]
    blending.blended()
    assert blending.differing_files(blending.ramp_blend()) == []


def test_a_least_improvement_is_taken_as_by_ramp_blend(regression: Blending) -> None:
    mix(regression, 12)
    free = regression.blended()
    strict = regression.blended(0.02)
    assert regression.differing_files(regression.ramp_blend(0.02)) == []
    assert strict["submissions"] != free["submissions"]


def test_of_equal_submissions_the_first_is_chosen(blending: Blending) -> None:
    mix(blending, 3)
    for name in sorted(blending.attempts):
        blending.add(blending.folder(name))
    content = blending.blended()
    assert blending.differing_files(blending.ramp_blend()) == []
    shares = list(percents(content).values())
    assert sum(shares[:5]) == pytest.approx(100)
    assert shares[5:] == [0.0] * 5


def test_a_further_run_reads_and_tries_only_new_submissions(regression: Blending) -> None:
    mix(regression, 20)
    first = regression.blended()
    n_chosen = len(read_choices(regression, 0))
    assert n_chosen > 5
    assert (first["n_read"], first["n_scored"]) == (20, 20 * (n_chosen + 1))
    again = regression.blended()
    assert (again["n_read"], again["n_scored"]) == (0, n_chosen)
    assert again["submissions"] == first["submissions"]
    regression.add(regression.folder("submission_000000001"))  # never before its equal
    third = regression.blended()
    assert (third["n_read"], third["n_scored"]) == (1, 2 * n_chosen + 1)
    assert percents(third) == percents(first) | {"submission_000000021": 0.0}
    assert regression.differing_files(regression.ramp_blend()) == []


def test_submissions_that_come_and_go_leave_the_numbers_of_a_first_run(
    regression: Blending,
) -> None:
    mix(regression, 12)
    numbers = np.random.default_rng(7)
    for _ in range(4):
        regression.blended()
        gone = numbers.choice(sorted(regression.attempts), 2, replace=False)
        chosen = read_choices(regression, 0)
        for name in {*map(str, gone), chosen[1].rpartition("_")[0]}:
            shutil.rmtree(regression.root / "submissions" / name)
            del regression.attempts[name]
        mix(regression, 3, weight=float(numbers.uniform(0.3, 0.5)))
        late = sorted(regression.attempts)[4]  # evaluated anew: in the middle of the order
        (changed,) = mix(regression, 1, weight=0.4)
        shutil.rmtree(regression.folder(late))
        shutil.copytree(regression.folder(changed), regression.folder(late))
        regression.attempts[late] += 1
        regression.blended()
        assert regression.differing_files(regression.ramp_blend()) == []
    kept = {path.name for path in (regression.root / "cache" / "arrays").iterdir()}
    assert kept == {f"{name}_{attempt}" for name, attempt in regression.attempts.items()}


def test_a_least_improvement_does_not_use_the_choices_of_runs_without(regression: Blending) -> None:
    mix(regression, 6)
    free = regression.blended()
    strict = regression.blended(0.02)
    assert strict["n_scored"] >= 2 * len(regression.attempts)
    assert regression.blended()["submissions"] == free["submissions"]


def test_choices_that_cannot_be_read_are_made_anew(blending: Blending) -> None:
    mix(blending, 6)
    first = blending.blended()
    for text in ("no json", "[]", json.dumps({"format": 0, "known": [], "chosen": ["nobody"]})):
        (blending.root / "cache" / "choices_fold_0.json").write_text(text)
        assert blending.blended()["submissions"] == first["submissions"]


def read_choices(blending: Blending, number: int) -> list[str]:
    text = (blending.root / "cache" / f"choices_fold_{number}.json").read_text()
    chosen: list[str] = json.loads(text)["chosen"]
    return chosen


def _remove_test(folder: Path) -> None:
    (folder / "fold_1" / "y_pred_test.npz").unlink()


def _link(folder: Path) -> None:
    path = folder / "fold_1" / "y_pred_train.npz"
    path.rename(folder / "elsewhere.npz")
    path.symlink_to(folder / "elsewhere.npz")


def _pickle(folder: Path) -> None:
    y_pred = np.array([{"a": "pickle"}] * 100, dtype=object)
    np.savez(folder / "fold_0" / "y_pred_train.npz", y_pred=y_pred)


def _misshape(folder: Path) -> None:
    np.savez(folder / "fold_0" / "y_pred_train.npz", y_pred=np.zeros((100, 4)))


def _break_nan(folder: Path) -> None:
    np.savez(folder / "fold_0" / "y_pred_train.npz", y_pred=np.full((100, 3), np.nan))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (shutil.rmtree, "there are no predictions"),
        (_remove_test, "fold 1, test data: there are no predictions"),
        (_link, "not a regular file"),
        (_pickle, "pickled objects, which are not read"),
        (_misshape, "must have the shape"),
        (_break_nan, "are NaN"),
    ],
    ids=["gone", "without test", "link", "pickle", "shape", "NaN"],
)
def test_who_cannot_be_read_is_told_and_left_out(
    blending: Blending, spoil: Callable[[Path], None], reason: str
) -> None:
    mix(blending, 3)
    expected = blending.blended()
    good = blending.add(blending.event.root / "scored" / "random_forest")  # would be chosen
    spoil(blending.folder(good))
    content = blending.blended()
    assert list(content["left_out"]) == [good]
    assert reason in content["left_out"][good]
    assert content["submissions"] == expected["submissions"]
    assert content["combined"] == expected["combined"]


def test_without_submissions_nothing_is_blended(blending: Blending) -> None:
    blending.attempts.clear()
    content = blending.blended()
    assert (content["submissions"], content["combined"], content["left_out"]) == ([], None, {})


@pytest.mark.parametrize("kit", ["regression", "combined", "detection", "own_format", "bare"])
def test_kits_of_other_kinds_are_blended_or_told(kit: str, tmp_path: Path) -> None:
    event = event_of(kit, tmp_path)
    assert event.prepare().code == 0
    starting_kit = event.kit / "submissions" / "starting_kit"
    evaluate_all(event, [starting_kit])
    blending = Blending(event)
    names = [blending.add(event.scored(starting_kit)) for _ in range(2)]
    content = blending.blended()
    if kit in ("detection", "own_format"):
        assert list(content["left_out"]) == names
        return
    assert percents(content) == {names[0]: 100.0, names[1]: 0.0}
    if kit == "bare":
        assert content["combined"]["test"] is None
    else:
        assert blending.differing_files(blending.ramp_blend()) == []


def test_the_combined_scores_are_those_of_the_files(blending: Blending) -> None:
    mix(blending, 6)
    content = blending.blended()
    for name in ("combined", "foldwise_best"):
        with (blending.root / "output" / f"bagged_scores_{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        last = {row["step"]: float(row["acc"]) for row in rows if row["n_bag"] == "1"}
        assert content[name] == last
    assert content["combined"]["valid"] > content["foldwise_best"]["valid"]


ABSTAINING = '''

import numpy as np


class Predictions(rw.prediction_types.make_regression()):
    """Large values count as no answer."""

    def __init__(self, y_pred=None, y_true=None, n_samples=None, fold_is=None):
        super().__init__(y_pred=y_pred, y_true=y_true, n_samples=n_samples, fold_is=fold_is)
        if y_pred is not None:
            self.y_pred = np.where(self.y_pred > 2, np.nan, self.y_pred)


class AnsweredRMSE(rw.score_types.RMSE):
    def __call__(self, y_true, y_pred):
        return np.sqrt(np.nanmean(np.square(y_true - y_pred)))


score_types = [AnsweredRMSE(name="rmse", precision=4)]
'''


def test_a_kit_whose_mean_leaves_out_missing_answers_is_blended_as_by_ramp_blend(
    tmp_path: Path,
) -> None:
    event = event_of("regression", tmp_path)
    problem = event.kit / "problem.py"
    problem.write_text(problem.read_text() + ABSTAINING)
    assert event.prepare().code == 0
    evaluate_all(event, [event.kit / "submissions" / "starting_kit"])
    blending = Blending(event)
    mix(blending, 12)
    blending.blended()
    assert len(read_choices(blending, 0)) > 2
    assert blending.differing_files(blending.ramp_blend()) == []
