"""What blending an event does and records, with a blend step that answers as it is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ramp_database import events, queue, submissions
from ramp_database.leaderboard import leaderboard
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.submissions import directory_name
from ramp_database.testing import TOY, toy_spec
from ramp_engine.blend_step import Candidates, forget
from ramp_engine.blending import Blended, Blender
from ramp_engine.config import EventConfig
from ramp_engine.errors import DatabaseError, EvaluationError
from ramp_engine.preparation import Bundle
from ramp_engine.testing import deploy_fake_event
from tests.integration.dispatching import dispatching_event, submit


class Step:
    """Shares alike; does something meanwhile, and remembers what it was given."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.meanwhile = meanwhile
        self.given: list[list[int]] = []
        self.left_out: dict[str, str] = {}

    def __call__(
        self, _event: EventConfig, _bundle: Bundle, candidates: Candidates, _least: float
    ) -> dict[str, Any]:
        self.given.append([number for number, _ in candidates])
        self.meanwhile()
        names = [directory_name(number) for number, _ in candidates]
        kept = [name for name in names if name not in self.left_out]
        scores = {"valid": 0.5, "test": None} if kept else None
        return {
            "submissions": [{"name": name, "percent": 100 / len(kept)} for name in kept],
            "left_out": self.left_out,
            "combined": scores,
            "foldwise_best": scores,
        }


@pytest.fixture
def event(database: Database, tmp_path: Path) -> EventConfig:
    """An event of which submissions 1 to 3 are scored."""
    event = deploy_fake_event(database, tmp_path)
    evaluate(database, event, 3)
    return event


def evaluate(database: Database, event: EventConfig, n: int) -> None:
    with dispatching_event(database, event) as witness:
        for _ in range(n):
            submit(database)
        assert witness.sees(lambda w: len(w.ended) >= n)


def blend(database: Database, event: EventConfig, step: Step, **options: Any) -> Blended:
    return Blender(database, event, step).blend(**options)


def shown(database: Database) -> dict[int, float | None]:
    with database.session(read_only=True) as session:
        rows = leaderboard(session, events.get_event(session, TOY).id)
    return {row.submission_id: row.contributivity for row in rows}


def reopen(database: Database, number: int) -> None:
    with database.session() as session:
        queue.set_state(session, number, State.NEW, "again")


def test_nothing_is_computed_until_something_has_changed(
    database: Database, event: EventConfig
) -> None:
    step = Step()
    assert not blend(database, event, step).is_unchanged
    again = blend(database, event, step)
    assert (again.is_unchanged, again.n_blended, len(step.given)) == (True, 3, 1)
    assert not blend(database, event, step, min_improvement=0.1).is_unchanged
    assert not blend(database, event, step).is_unchanged
    assert not blend(database, event, step, is_forced=True).is_unchanged
    evaluate(database, event, 1)
    assert blend(database, event, step).n_blended == 4
    assert step.given == [[1, 2, 3]] * 4 + [[1, 2, 3, 4]]
    assert shown(database) == dict.fromkeys((1, 2, 3, 4), 25.0)


def test_dispatchers_work_on_while_it_computes(database: Database, event: EventConfig) -> None:
    step = Step(lambda: evaluate(database, event, 1))
    assert blend(database, event, step).n_blended == 3
    share = pytest.approx(100 / 3)
    assert shown(database) == {1: share, 2: share, 3: share, 4: None}


def test_who_is_evaluated_anew_meanwhile_is_told(database: Database, event: EventConfig) -> None:
    found = blend(database, event, Step(lambda: reopen(database, 2)))
    assert list(found.left_out) == [2]
    share = pytest.approx(100 / 3)
    assert shown(database) == {1: share, 3: share}
    assert not blend(database, event, Step()).is_unchanged
    assert shown(database) == {1: 50.0, 3: 50.0}


def test_an_event_that_is_deployed_anew_meanwhile_is_not_recorded(
    database: Database, event: EventConfig
) -> None:
    def deploy() -> None:
        with database.session() as session:
            other = replace(toy_spec(), bundle_hash="other", kit_hash="other kit")
            events.update_event(session, TOY, other)

    with pytest.raises(DatabaseError, match="deployed anew"):
        blend(database, event, Step(deploy))
    assert shown(database) == dict.fromkeys((1, 2, 3))


def test_who_cannot_be_blended_is_told_why(database: Database, event: EventConfig) -> None:
    shutil.rmtree(event.ramp.predictions_dir / directory_name(1))
    step = Step()
    step.left_out = {directory_name(2): "no archive"}
    found = blend(database, event, step)
    assert "delete-predictions" in found.left_out[1]
    assert found.left_out[2] == "no archive"
    assert (found.n_scored, found.n_blended, found.percents) == (3, 1, {3: 100.0})
    assert step.given == [[2, 3]]
    step.left_out.clear()  # mended: it is tried again
    assert blend(database, event, step).n_blended == 2


def test_scores_of_another_kit_are_not_blended_and_those_of_another_environment_are(
    database: Database, event: EventConfig
) -> None:
    for part in ("environment", "kit"):
        with database.session() as session:
            spec = toy_spec()
            hashes = {f"{part}_hash": "other", "bundle_hash": f"other {part}"}
            events.update_event(session, TOY, replace(spec, **hashes))
        bundles = event.ramp.work_dir / "bundles"
        shutil.copytree(bundles / spec.bundle_hash, bundles / f"other {part}")
        found = blend(database, event, Step())
        if part == "environment":
            assert (found.n_blended, dict(found.left_out)) == (3, {})
    assert found.n_blended == 0
    assert "scored with another kit" in found.left_out[1]
    assert "`ramp retry 1`" in found.left_out[1]
    assert shown(database) == dict.fromkeys((1, 2, 3), pytest.approx(100 / 3)), "it stays"


def test_one_at_a_time_blends_an_event(database: Database, event: EventConfig) -> None:
    def blend_too() -> None:
        for act in (lambda: blend(database, event, Step()), lambda: forget(event)):
            with pytest.raises(EvaluationError, match="somebody else"):
                act()

    assert blend(database, event, Step(blend_too)).n_blended == 3


def test_what_is_kept_of_other_bundles_is_removed(database: Database, event: EventConfig) -> None:
    kept = event.ramp.work_dir / "blend"
    for name in ("older", toy_spec().bundle_hash):
        (kept / name / "arrays").mkdir(parents=True)
    blend(database, event, Step())
    assert [path.name for path in kept.iterdir() if path.is_dir()] == [toy_spec().bundle_hash]
    blend(database, event, Step(), is_forced=True)
    assert [path.name for path in kept.iterdir()] == ["lock"]
    assert kept.stat().st_mode & 0o77 == 0


def test_an_event_without_scores_has_nothing_to_blend(database: Database, tmp_path: Path) -> None:
    event = deploy_fake_event(database, tmp_path)
    step = Step()
    assert blend(database, event, step) == Blended(0)
    assert step.given == []
    with database.session() as session:
        assert submissions.ids_by_state(session, 1, set(State)) == []
