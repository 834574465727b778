"""Measure how the cost of an event's database grows with what has been scored and with what waits.

::

    python -m benchmarks.scale [--full] [--json FILE] [--databases sqlite postgresql]
                               [--scored 100 10000] [--waiting 100]

Each database is filled with the scored and the waiting submissions of 300 teams, without going
through the queue; PostgreSQL, which is started for the purpose, is then analysed as its autovacuum
would do. Printed are medians in milliseconds, a transaction each, and the ratio of the last column
to the first, the fewest, which is the baseline. The aim is a ratio under 2, and a page of the
leaderboard under 20 ms; --full takes a million scored submissions as well.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Double, String, cast, func, insert, literal, select
from sqlalchemy.orm import Session

from ramp_database import clock, dispatchers, queue
from ramp_database.leaderboard import leaderboard
from ramp_database.model import (
    Attempt,
    BaggedScore,
    Base,
    ComputeHour,
    EndedCount,
    EventTeam,
    FoldScore,
    FoldTime,
    Submission,
    SubmissionEvent,
    Team,
)
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.status import event_status
from ramp_database.testing import add_toy_event, toy_results
from ramp_database.testing_server import temporary_server
from ramp_database.waiting import waiting

N_TEAMS, N_HOURS, N_TIMES, N_FOLDS, PAGE = 300, 24, 25, 2, 50
SCORED, FULL, WAITING = [100, 10_000], 1_000_000, [100]

Figures = dict[str, dict[str, float]]


def numbers(n: int) -> Any:
    """Give the rows 0 to n - 1, in the column ``i``."""
    start = select(literal(0).label("i")).cte("numbers", recursive=True)
    return start.union_all(select(start.c.i + 1).where(start.c.i + 1 < n))


def fill(session: Session, table: type[Base], rows: Any, **columns: ColumnElement[Any]) -> None:
    """Insert a row for each of `rows`, made by the database itself."""
    query = select(*columns.values()).select_from(rows)
    session.execute(insert(table).from_select(list(columns), query, include_defaults=False))


def add_teams(session: Session, event_id: int) -> None:
    """Add the teams, what they used lately, and their sign-ups."""
    rows = numbers(N_TEAMS)
    name = literal("team ") + cast(rows.c.i, String)
    fill(session, Team, rows, id=rows.c.i + 1, name=name, created_at=clock.now())
    event = literal(event_id)
    fill(
        session,
        EventTeam,
        rows,
        event_id=event,
        team_id=rows.c.i + 1,
        signed_up_at=clock.now(),
    )
    rows = numbers(N_TEAMS * N_HOURS)
    fill(
        session,
        ComputeHour,
        rows,
        event_id=event,
        team_id=rows.c.i % N_TEAMS + 1,
        hour=clock.hour() - rows.c.i / N_TEAMS,
        dispatcher_id=literal(0),
        seconds=rows.c.i % 7 * 100.0,
    )


def add_submissions(session: Session, event_id: int, n: int, state: State) -> None:
    """Add submissions, one a second until now, the teams' in turn."""
    rows = numbers(n)
    first_id = (session.scalar(select(func.max(Submission.id))) or 0) + 1
    at = clock.now(cast(rows.c.i - n, Double))
    columns = {
        "id": rows.c.i + first_id,
        "event_id": literal(event_id),
        "team_id": rows.c.i % N_TEAMS + 1,
        "name": literal("submission ") + cast(rows.c.i + first_id, String),
        "submitted_at": at,
        "content_hash": literal("0" * 64),
        "state": literal(state, Submission.state.type),
        "attempt": literal(0),
        "n_crashes": literal(0),
        "n_interruptions": literal(0),
    }
    if state is State.SCORED:
        score = rows.c.i % 9973 / 9973.0
        columns |= {"attempt": literal(1), "claimed_at": at, "outcome": literal("succeeded")}
        columns |= dict.fromkeys(("public_score", "private_score"), score)
        columns |= dict.fromkeys(("public_order", "private_order"), -score)
        columns |= {f"{step}_seconds": literal(1.0) for step in ("train", "valid", "test")}
    fill(session, Submission, rows, **columns)


def add_ends(session: Session, score_type_id: int, dispatcher_id: int) -> None:
    """Add the attempts, the scores and the last step of what is scored."""
    is_scored = Submission.state == State.SCORED
    rows = select(Submission).where(is_scored).subquery()
    fill(
        session,
        Attempt,
        rows,
        submission_id=rows.c.id,
        number=rows.c.attempt,
        dispatcher_id=literal(dispatcher_id),
        claimed_at=rows.c.submitted_at,
        started_at=rows.c.submitted_at,
        finished_at=rows.c.submitted_at,
        outcome=rows.c.outcome,
    )
    score = rows.c.public_score
    columns = [f"{part}_{kind}" for part in ("valid", "test") for kind in ("bag", "mean", "std")]
    scores = dict.fromkeys(columns, score)
    key = {"submission_id": rows.c.id, "score_type_id": literal(score_type_id)}
    fill(session, BaggedScore, rows, **key, **scores)
    at = {"at": rows.c.submitted_at, "attempt": rows.c.attempt}
    states = {"from_state": State.TESTED, "to_state": State.SCORED}
    typed = {name: literal(state, Submission.state.type) for name, state in states.items()}
    by = {"submission_id": rows.c.id, "dispatcher_id": literal(dispatcher_id)}
    fill(session, SubmissionEvent, rows, **by, **at, **typed)
    for fold in range(N_FOLDS):
        steps = dict.fromkeys(("train", "valid", "test"), score)
        fill(session, FoldScore, rows, **key, fold=literal(fold), **steps)
        seconds = {f"{step}_seconds": literal(1.0) for step in steps}
        fill(session, FoldTime, rows, submission_id=rows.c.id, fold=literal(fold), **seconds)


class Filled:
    """A database with an event, and a dispatcher to act as."""

    def __init__(self, url: str, n_scored: int) -> None:
        self.n_scored = n_scored
        self.database = Database(url)
        self.database.upgrade()
        with self.database.session() as session:
            event = add_toy_event(session)
            self.event_id = event.id
            self.owner = dispatchers.register(session, event.id, "host", 1, n_workers=4)
            add_teams(session, event.id)
            add_submissions(session, event.id, n_scored, State.SCORED)
            add_ends(session, event.score_types[0].id, self.owner)
            ended = {"state": State.SCORED, "dispatcher_id": self.owner, "n": n_scored}
            session.execute(insert(EndedCount).values(event_id=event.id, **ended))

    def add_waiting(self, n: int) -> None:
        """Bring those that wait up to `n`."""
        with self.database.session() as session:
            n -= queue.count_open(session, self.event_id)
            add_submissions(session, self.event_id, n, State.NEW)
        if self.database.engine.dialect.name == "postgresql":
            apart = self.database.connect_apart()
            apart.autocommit = True
            apart.execute("VACUUM ANALYZE")
            apart.close()

    def measure(self) -> dict[str, float]:
        """Take the medians of everything, in milliseconds."""
        self._evaluate_one(defaultdict(list))  # what it costs later, not the first time
        times: dict[str, list[float]] = defaultdict(list)
        for _ in range(N_TIMES):
            self._evaluate_one(times)
            for name, work in self._looks().items():
                self._time(times[name], work, read_only=True)
        return {name: statistics.median(values) for name, values in times.items()}

    def _evaluate_one(self, times: dict[str, list[float]]) -> None:
        claim_one = lambda session: queue.claim(session, self.event_id, self.owner, 1)  # noqa: E731
        (claim,) = self._time(times["claim one"], claim_one)
        self._time(times["start"], lambda session: queue.start(session, claim))
        self._time(times["finish"], lambda session: queue.finish(session, claim))
        results = toy_results(0.5)
        self._time(times["score"], lambda session: queue.score(session, claim, results))

    def _looks(self) -> dict[str, Callable[[Session], object]]:
        event_id = self.event_id
        page = functools.partial(leaderboard, event_id=event_id, limit=PAGE)
        last = max(self.n_scored - PAGE, 0)
        return {
            "status": lambda session: event_status(session, event_id, limit=PAGE),
            "leaderboard page": page,
            "private leaderboard page": functools.partial(page, private=True),
            "best per team page": functools.partial(page, best_per_team=True),
            "last leaderboard page": functools.partial(page, offset=last),
            "outlook": lambda session: queue.outlook(session, event_id),
            "count_open": lambda session: queue.count_open(session, event_id),
            "places of all that wait": lambda session: waiting(session, event_id),
        }

    def _time(
        self, times: list[float], work: Callable[[Session], Any], *, read_only: bool = False
    ) -> Any:
        started_at = time.perf_counter()
        with self.database.session(read_only=read_only) as session:
            result = work(session)
        times.append(1000 * (time.perf_counter() - started_at))
        return result


@contextmanager
def places(kind: str) -> Iterator[Callable[[], str]]:
    """Give what makes the URLs of new databases."""
    made = iter(range(1000))
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="ramp-benchmark-") as directory:
            yield lambda: f"sqlite:///{directory}/{next(made)}.db"
        return
    with temporary_server() as server:

        def make() -> str:
            name = f"benchmark_{next(made)}"
            server.admin(f"CREATE DATABASE {name}")
            return server.url(name)

        yield make


def measure(make_url: Callable[[], str], scored: list[int], waits: list[int]) -> Figures:
    """Take the figures of every size; the fewest first."""
    figures = {}
    for n_scored in sorted(scored):
        filled = Filled(make_url(), n_scored)
        for n_waiting in sorted(waits):
            filled.add_waiting(n_waiting)
            figures[f"{n_scored} scored, {n_waiting} wait"] = filled.measure()
        filled.database.dispose()
    return figures


def ratios(figures: Figures) -> dict[str, float]:
    """Give the cost with the most, in costs with the fewest."""
    first, *_, last = figures.values() if len(figures) > 1 else [*figures.values()] * 2
    return {name: last[name] / least for name, least in first.items()}


def print_table(kind: str, figures: Figures) -> None:
    width = max(map(len, figures)) + 2
    print("".join([f"{kind + ', ms':30}", *(f"{name:>{width}}" for name in figures)]) + "   ratio")
    for name, ratio in ratios(figures).items():
        cells = [f"{row[name]:>{width}.2f}" for row in figures.values()]
        print("".join([f"{name:30}", *cells, f"{ratio:8.2f}"]), flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    kinds = ["sqlite", "postgresql"]
    parser.add_argument("--databases", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--scored", nargs="+", type=int, default=SCORED)
    parser.add_argument("--full", action="store_true", help="A million scored submissions, too.")
    parser.add_argument("--waiting", nargs="+", type=int, default=WAITING)
    options = parser.parse_args()
    scored = [*options.scored, FULL] if options.full else options.scored
    found = {}
    for kind in options.databases:
        with places(kind) as make_url:
            figures = measure(make_url, scored, options.waiting)
        print_table(kind, figures)
        found[kind] = {"milliseconds": figures, "ratio": ratios(figures)}
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
