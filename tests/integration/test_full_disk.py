"""A full disk holds everything up and costs no attempt."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ramp_database import events, submissions
from ramp_database.model import Attempt, Submission
from ramp_database.queue import returning
from ramp_database.session import Database
from ramp_database.states import OWNED, State
from ramp_database.testing import TOY, add_toy_submission
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.rehearsal.troubles import DISK_FULL
from ramp_engine.testing import canned_scores, deploy_fake_event, violations, violations_on_disk
from tests.integration.dispatching import dispatching_event, submit
from tests.integration.mortal import WORKER_TYPE, dispatcher_processes, wait_until

N_SUBMISSIONS, N_WORKERS = 16, 4


def n_in(database: Database, *states: State) -> int:
    with database.session(read_only=True) as session:
        query = select(func.count()).select_from(Submission)
        return session.execute(query.where(Submission.state.in_(states))).scalar_one()


def outcomes(database: Database) -> list[tuple[str | None, str]]:
    with database.session(read_only=True) as session:
        wanted = select(Attempt.outcome, Attempt.error)
        rows = session.execute(wanted.order_by(Attempt.submission_id, Attempt.number)).all()
    return [(outcome, error or "") for outcome, error in rows]


def test_while_the_disk_is_full_nothing_is_claimed_and_afterwards_everything_is_scored(
    database: Database, tmp_path: Path
) -> None:
    """The process tries again at once, so that only the check of the disk can hold it up."""
    worker = {"worker_type": WORKER_TYPE, "seconds": 0.2}
    event = deploy_fake_event(database, tmp_path, worker=worker, n_workers=N_WORKERS, n_threads=1)
    with database.session() as session:
        for _ in range(N_SUBMISSIONS):
            add_toy_submission(session)
    url = database.engine.url.render_as_string(hide_password=False)
    log = tmp_path / "dispatchers.log"
    with dispatcher_processes(1, url, event) as (process,):
        wait_until(lambda: n_in(database, State.SCORED) > 2, "some are scored")
        (tmp_path / DISK_FULL).touch()
        wait_until(lambda: "nothing is claimed" in log.read_text(), "it stops claiming")
        claimed_before = outcomes(database)
        wait_until(lambda: n_in(database, *OWNED) == 0, "the attempts are given back")
        assert len(outcomes(database)) == len(claimed_before), "nothing is claimed meanwhile"
        assert n_in(database, State.NEW) + n_in(database, State.SCORED) == N_SUBMISSIONS
        (tmp_path / DISK_FULL).unlink()
        assert process.wait() == 0
    with database.session(read_only=True) as session:
        event_id = events.get_event(session, TOY).id
        assert violations(session, event_id) == []
        assert violations_on_disk(session, event_id, event) == []
        rows = session.execute(select(Submission.state, Submission.n_crashes)).all()
    assert set(rows) == {(State.SCORED, 0)}
    ends = outcomes(database)
    given_back = [error for outcome, error in ends if outcome == "interrupted"]
    assert given_back, "what ran when the disk was full"
    assert {outcome for outcome, _ in ends} == {"interrupted", "succeeded"}
    for error in given_back:
        assert str(event.directory) in error
        assert "make room there" in error
    told = log.read_text()
    assert told.count("nothing is claimed until there is room") == 1
    assert told.count("claiming goes on") == 1


def test_a_copy_for_organisers_that_the_disk_refuses_in_its_midst_leaves_nothing_behind(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = deploy_fake_event(database, tmp_path, n_threads=1)
    write_files = submissions.write_files
    refused: list[Path] = []

    def refuse_once(files: Sequence[submissions.SubmissionFile], directory: Path) -> None:
        write_files(files, directory)
        if directory.parent == event.ramp.submissions_dir and not refused:
            refused.append(directory)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(submissions, "write_files", refuse_once)
    monkeypatch.setattr(returning, "FIRST_DELAY_SECONDS", 0.01)
    with database.session() as session:
        add_toy_submission(session)
    Dispatcher(database, event, is_exiting_when_done=True, score=canned_scores).run()
    assert refused
    assert [outcome for outcome, _ in outcomes(database)] == ["interrupted", "succeeded"]
    with database.session(read_only=True) as session:
        assert violations(session, events.get_event(session, TOY).id) == []
        assert violations_on_disk(session, events.get_event(session, TOY).id, event) == []


def test_logs_that_cannot_be_written_leave_no_predictions_behind(
    database: Database, tmp_path: Path
) -> None:
    """Both are put beside their places before any is published."""
    event = deploy_fake_event(database, tmp_path, n_workers=1, n_threads=1, max_attempts=1)
    event.ramp.logs_dir.parent.mkdir(parents=True, exist_ok=True)
    event.ramp.logs_dir.write_text("a file, where a folder should be")
    number = submit(database)
    with dispatching_event(database, event) as witness:
        assert witness.sees(lambda seen: number in seen.ended)
        assert list(event.ramp.predictions_dir.glob(".submission_*")) == []
    assert [outcome for outcome, _ in outcomes(database)] == ["crashed"]
