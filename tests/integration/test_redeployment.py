"""An event that is deployed again while a dispatcher serves it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from ramp_database import events
from ramp_database.history import read
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, toy_spec
from ramp_engine.testing import FakeWorker
from tests.integration.dispatching import dispatching, row, submit


def test_what_was_trained_with_an_older_bundle_is_trained_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect, bundles = FakeWorker.collect_results, []

    def collect_results(worker: FakeWorker) -> tuple[int, str]:
        bundle = Path(worker.config["bundle_dir"]).parent
        if not bundles:
            copytree(bundle, bundle.with_name("another"))
            with database.session() as session:
                events.update_event(session, TOY, replace(toy_spec(), bundle_hash="another"))
        bundles.append(bundle.name)
        return collect(worker)

    monkeypatch.setattr(FakeWorker, "collect_results", collect_results)
    with dispatching(database, tmp_path) as witness:
        submission_id = submit(database)
        assert witness.sees(lambda w: len(w.ended) == 2)
    assert bundles == [toy_spec().bundle_hash, "another"]
    assert row(database, submission_id).state is State.SCORED
    with database.session() as session:
        outcomes = [one.outcome for one in read(session, submission_id).attempts]
    assert outcomes == ["interrupted", "succeeded"]
