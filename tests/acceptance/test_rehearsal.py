"""``ramp rehearse``: nothing is lost under chaos, and nothing of it is left."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, select

from ramp_database.model import Base
from ramp_database.session import Database
from ramp_database.testing import add_toy_event, add_toy_submission
from tests.acceptance.deployment import PATIENCE_SECONDS, Deployment, processes_of, wait_until

REHEARSE = ("rehearse", "--event-config", "events/iris/config.yml", "--teams", "8")


@pytest.fixture
def rehearsing(
    make_deployment: Callable[..., Deployment], database_url: str
) -> tuple[Deployment, Callable[[], Any]]:
    """A deployment whose database holds something, and what tells all that there is of it."""
    deployment = make_deployment(database_url)
    database = Database(database_url)
    with database.session() as session:
        add_toy_event(session)
        add_toy_submission(session)
    database.dispose()

    def everything() -> Any:
        with database.engine.connect() as connection:
            rows = {
                table.name: connection.execute(select(table)).fetchall()
                for table in Base.metadata.sorted_tables
            }
            names = inspect(connection).get_schema_names()
        database.dispose()
        log = "process_"  # of what the tests start
        folders = [deployment.directory]
        if database.engine.dialect.name == "sqlite":
            folders.append(Path(str(database.engine.url.database)).parent)
        files = [
            path
            for folder in folders
            for path in folder.rglob("*")
            if not path.name.startswith((log, "ramp.db-"))
        ]
        return rows, names, sorted(files)

    return deployment, everything


def test_under_chaos_nothing_is_lost_and_nothing_is_left(
    rehearsing: tuple[Deployment, Callable[[], Any]],
) -> None:
    deployment, everything = rehearsing
    before = everything()
    size = ("--submissions", "40", "--seconds-per-submission", "0.2", "--arrival-seconds", "3")
    done = deployment.ramp(*REHEARSE, *size, "--chaos", "--seed", "5", "--json")
    report = json.loads(done.stdout)
    assert report["violations"] == []
    assert report["n_submissions"] == 40
    assert report["n_attempts"] > 40
    assert report["n_dispatcher_processes"] >= 2 + 4  # as many as were killed
    told = "\n".join(report["faults"])
    assert len(report["faults"]) == 13
    for words in ("killed", "paused", "disk is full", "refuses", "broke all|keeping"):
        assert any(word in told for word in words.split("|")), words
    crashes = "\n".join(report["crashes"])
    assert any(words in crashes for words in ("planted error", "ended while it owned")), crashes
    assert "No space left on device" not in crashes
    assert "stale_after_seconds: 3 instead of 60 s" in done.stderr
    assert everything() == before
    assert processes_of(deployment.directory) == []


def test_ctrl_c_ends_a_rehearsal_and_leaves_nothing(
    rehearsing: tuple[Deployment, Callable[[], Any]],
) -> None:
    deployment, everything = rehearsing
    before = everything()
    size = ("--submissions", "30", "--seconds-per-submission", "600")
    process = deployment.start(*REHEARSE, *size)
    log = deployment.directory / "process_0.log"
    assert wait_until(lambda: "2 running" in log.read_text()), log.read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 130
    assert everything() == before
    assert processes_of(deployment.directory) == []


def test_without_faults_a_rehearsal_tells_what_the_event_can_do(
    rehearsing: tuple[Deployment, Callable[[], Any]],
) -> None:
    deployment, _ = rehearsing
    size = ("--submissions", "20", "--seconds-per-submission", "0.05", "--arrival-seconds", "2")
    done = deployment.ramp(*REHEARSE, *size, "--n-workers", "3")
    for words in (
        "submission to start",
        "submissions an hour",
        "SQL statements a submission",
        "bottleneck",
        "recommended n_workers",
        "all hold, without faults",
    ):
        assert words in done.stdout
