"""What an attempt was evaluated with is kept with it, however it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from ramp_database import history, queue
from ramp_database.provenance import Provenance
from ramp_database.queue import Claim
from ramp_database.states import State
from ramp_database.testing import toy_results
from tests.database.conftest import Toy

KNOWN = Provenance("b" * 64, "k" * 64, "d" * 64, "f" * 64, "e" * 64, "s" * 64, "1.2.3")

#: Outcome of an attempt: the state that it starts from, and what ends it.
ENDINGS: dict[str, tuple[State, Callable[[Toy, Claim], Any]]] = {
    "succeeded": (
        State.TESTED,
        lambda toy, claim: toy.do(queue.score, claim, toy_results(0.5), KNOWN),
    ),
    "failed": (
        State.TRAINING,
        lambda toy, claim: toy.do(
            queue.fail, claim, State.TRAINING_ERROR, "wrong", "failed", KNOWN
        ),
    ),
    "crashed": (State.TRAINING, lambda toy, claim: toy.do(queue.crash, claim, "broken", 3, KNOWN)),
    "interrupted": (
        State.TRAINING,
        lambda toy, claim: toy.do(
            lambda session: queue.release(session, claim, "shutdown", provenance=KNOWN)
        ),
    ),
    "canceled": (
        State.TRAINING,
        lambda toy, claim: toy.do(queue.acknowledge_cancel, claim, KNOWN),
    ),
}


@pytest.mark.parametrize("outcome", ENDINGS)
def test_the_hashes_are_kept_with_the_attempt_however_it_ended(toy: Toy, outcome: str) -> None:
    state, end = ENDINGS[outcome]
    claim = toy.bring_to(state)
    end(toy, claim)
    with toy.session() as session:
        (attempt,) = history.read(session, claim.submission_id).attempts
    assert attempt.outcome == outcome
    assert attempt.provenance is not None
    assert Provenance.from_json(attempt.provenance) == KNOWN


def test_recording_the_hashes_takes_no_statement_more(toy: Toy, statements: list[str]) -> None:
    counts = []
    for provenance in (None, KNOWN):
        claim = toy.bring_to(State.TESTED)
        statements.clear()
        toy.do(queue.score, claim, toy_results(0.5), provenance)
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_an_attempt_of_which_nothing_is_known_has_no_hashes_at_all(toy: Toy) -> None:
    claim = toy.bring_to(State.SCORED)
    with toy.session() as session:
        query = "SELECT count(*) FROM attempts WHERE provenance IS NULL"
        assert session.scalar(text(query)) == 1, "NULL, and not the JSON value null"
        (attempt,) = history.read(session, claim.submission_id).attempts
    assert attempt.provenance is None


def test_the_parts_that_another_bundle_changed_are_named() -> None:
    changed = replace(KNOWN, bundle="other", kit="other", environment="other")
    assert KNOWN.changed_parts(changed) == ("kit", "environment")
    assert KNOWN.changed_parts(replace(KNOWN, bundle="other")) == ("bundle",), "another label"
    assert KNOWN.changed_parts(replace(KNOWN, engine="2", submission="x")) == ()


def test_what_another_release_recorded_can_be_read() -> None:
    value = {"bundle": "b", "kit": "k", "weather": "fine"}
    assert Provenance.from_json(value) == Provenance("b", "k", None, None, None, None, None)
