"""What a dispatcher records of the inputs of an attempt, under real dispatch of fake workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

import ramp_engine
from ramp_database import events
from ramp_database.provenance import Provenance
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, toy_spec
from ramp_engine.testing import FakeWorker
from tests.integration.dispatching import attempts, dispatching, row, submit


def recorded(database: Database, submission_id: int) -> list[Provenance]:
    found = [one.provenance for one in attempts(database, submission_id)]
    return [Provenance.from_json(value) for value in found if value is not None]


def test_a_scored_attempt_tells_bundle_submission_and_version(
    database: Database, tmp_path: Path
) -> None:
    with dispatching(database, tmp_path) as witness:
        submission_id = submit(database)
        assert witness.sees(lambda w: len(w.ended) == 1)
    content_hash = row(database, submission_id).content_hash
    expected = Provenance(
        "bundle", "kit", "data", "folds", "environment", content_hash, ramp_engine.__version__
    )
    assert recorded(database, submission_id) == [expected]


def test_a_failed_attempt_tells_them_too(database: Database, tmp_path: Path) -> None:
    with dispatching(database, tmp_path, worker={"scenario": "failing"}) as witness:
        submission_id = submit(database)
        assert witness.sees(lambda w: len(w.ended) == 1)
    assert row(database, submission_id).state is State.TRAINING_ERROR
    assert [one.bundle for one in recorded(database, submission_id)] == ["bundle"]


def test_the_bundle_is_the_one_it_was_trained_with_and_not_the_one_deployed_meanwhile(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect, n_collected = FakeWorker.collect_results, 0

    def collect_results(worker: FakeWorker) -> tuple[int, str]:
        nonlocal n_collected
        n_collected += 1
        if n_collected == 1:
            bundle = Path(worker.config["bundle_dir"]).parent
            copytree(bundle, bundle.with_name("another"))
            with database.session() as session:
                events.update_event(session, TOY, replace(toy_spec(), bundle_hash="another"))
        return collect(worker)

    monkeypatch.setattr(FakeWorker, "collect_results", collect_results)
    with dispatching(database, tmp_path) as witness:
        submission_id = submit(database)
        assert witness.sees(lambda w: len(w.ended) == 2)
    assert [one.bundle for one in recorded(database, submission_id)] == ["bundle", "another"]
