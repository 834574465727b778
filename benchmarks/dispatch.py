"""Measure what a dispatcher costs, and how soon it acts.

::

    python -m benchmarks.dispatch [--json FILE] [--databases sqlite postgresql]

Workers are fakes and the score step is a canned answer, so that the figures are the engine's own.
PostgreSQL is started for the purpose; with --durable it waits for the disk. The baseline
"polling 0.5 s" is the same dispatcher in the same run without news: it does a full turn
every half second, and when a run ends, as the first version did.

The aim is at most 15 SQL statements a submission beyond those that insert its fold scores and
times, which are counted apart; tests/integration/test_statements.py holds the engine to it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import event as engine_events

from ramp_database import dispatchers, queue
from ramp_database.changes import ChangeWatcher
from ramp_database.session import Database
from ramp_database.testing import add_toy_event, add_toy_submission
from ramp_database.testing_server import temporary_server
from ramp_engine import dispatcher as dispatcher_module
from ramp_engine.base import WorkerStatus
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.run import Run
from ramp_engine.testing import FakeWorker, canned_scores, deploy_fake_event

WAKING, POLLING = "announced", "polling 0.5 s (baseline)"
N_LATENCIES, N_BURST, N_CLAIMS, IDLE_SECONDS = 30, 60, 400, 10.0


def _connect_never(watcher: ChangeWatcher) -> bool:
    """Have a watcher wait without news, and never try to get any."""
    watcher._retry_at = math.inf
    return False


class Witness:
    """Note when runs start and end, and count the statements."""

    def __init__(self, database: Database) -> None:
        self.done = threading.Semaphore(0)
        self.claimed = threading.Semaphore(0)
        self.statements: list[str] = []
        engine_events.listen(database.engine, "before_cursor_execute", self._listen)

    def _listen(self, _c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("BEGIN"):
            self.statements.append(statement)

    def run_started(self, _run: Run) -> None:
        self.claimed.release()

    def run_ended(self, _run: Run) -> None:
        self.done.release()


class Timed:
    """Note when the worker is launched, when its end is seen, and when the score is committed."""

    def __init__(self) -> None:
        self.launched: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.scored: dict[str, float] = {}

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        launch, collect = FakeWorker.launch_submission, FakeWorker.collect_results
        score = Run._evaluate_and_record

        def launch_submission(worker: FakeWorker) -> None:
            self.launched[worker.submission] = time.monotonic()
            launch(worker)

        def collect_results(worker: FakeWorker) -> tuple[int, str]:
            if worker.last_status is WorkerStatus.FINISHED and worker._started_at is not None:
                self.ended[worker.submission] = worker._started_at + worker.behaviour.seconds
            return collect(worker)

        def evaluate_and_record(run: Run) -> None:
            score(run)
            self.scored[run._directory.submission] = time.monotonic()

        with (
            mock.patch.object(FakeWorker, "launch_submission", launch_submission),
            mock.patch.object(FakeWorker, "collect_results", collect_results),
            mock.patch.object(Run, "_evaluate_and_record", evaluate_and_record),
        ):
            yield


@contextlib.contextmanager
def dispatching(database: Database, mode: str, **settings: Any) -> Iterator[Witness]:
    """Run a dispatcher in a thread of this process."""
    with tempfile.TemporaryDirectory(prefix="ramp-benchmark-") as directory:
        event = deploy_fake_event(database, Path(directory), n_threads=1, **settings)
        witness = Witness(database)
        with contextlib.ExitStack() as stack:
            if mode == POLLING:
                stack.enter_context(mock.patch.object(ChangeWatcher, "_connect", _connect_never))
                stack.enter_context(mock.patch.object(dispatcher_module, "FULL_TURN_SECONDS", 0.5))
            running = Dispatcher(database, event, observer=witness, score=canned_scores)
            thread = threading.Thread(target=running.run)
            thread.start()
            submit(database)  # the first one finds everything cold
            witness.done.acquire()
            try:
                yield witness
            finally:
                running.stop()
                thread.join()


def submit(database: Database, n: int = 1) -> int:
    with database.session() as session:
        return [add_toy_submission(session).id for _ in range(n)][-1]


def latencies(database: Database, mode: str) -> dict[str, float]:
    """Submit one at a time to an idle dispatcher."""
    timed, starts = Timed(), []
    n = N_LATENCIES if mode == WAKING else N_LATENCIES // 3
    with timed.noting(), dispatching(database, mode, n_workers=2, worker={"seconds": 0.02}) as seen:
        timed.ended.clear()
        timed.scored.clear()
        seen.statements.clear()
        for number in range(n):
            time.sleep(0.01 * (number % 7))  # anywhere within the turn of a poller
            id_ = submit(database)
            submitted_at = time.monotonic()
            seen.done.acquire()
            starts.append(timed.launched[f"submission_{id_:09d}"] - submitted_at)
        total = len(seen.statements)
    ends = [timed.scored[name] - timed.ended[name] for name in timed.scored]
    return {
        **quantiles("submission to start, ms", starts),
        **quantiles("worker's end to score, ms", ends),
        "SQL a submission, one at a time": total / n - own_statements(database),
    }


def quantiles(name: str, seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles([1000 * value for value in seconds], n=20)
    return {f"{name}, p50": cuts[9], f"{name}, p95": cuts[18]}


def own_statements(database: Database) -> float:
    """Count what adding one submission takes, which is the submitter's affair."""
    counter = Witness(database)
    submit(database, 10)
    return len(counter.statements) / 10


def burst(database: Database, mode: str) -> dict[str, float]:
    """Work off a queue: statements a submission, and submissions a second."""
    with dispatching(database, mode, n_workers=4) as seen:
        submit(database, N_BURST)
        seen.statements.clear()
        started_at = time.monotonic()
        for _ in range(N_BURST):
            seen.done.acquire()
        seconds = time.monotonic() - started_at
        total = len(seen.statements)
    scores = sum(statement.startswith("INSERT INTO fold_") for statement in seen.statements[:total])
    return {
        "SQL a submission, queue of 60": total / N_BURST,
        "of these fold scores and times": scores / N_BURST,
        "submissions a second": N_BURST / seconds,
    }


def at_rest(database: Database, mode: str, n_running: int) -> dict[str, float]:
    """Watch a dispatcher that has nothing to do, or `n_running` long runs."""
    worker = {"seconds": 0.0}
    with (
        dispatching(database, mode, n_workers=max(n_running, 1), worker=worker) as seen,
        mock.patch.object(FakeWorker, "_seconds_left", return_value=30.0),
    ):
        if n_running:
            submit(database, n_running)
            for _ in range(n_running):
                seen.claimed.acquire()
            time.sleep(3)  # until all of them run
        seen.statements.clear()
        before = cpu_seconds()
        time.sleep(IDLE_SECONDS)
        cpu = cpu_seconds() - before
        total = len(seen.statements)
    which = f"{n_running} running" if n_running else "idle"
    return {
        f"SQL a second, {which}": total / IDLE_SECONDS,
        f"CPU {which}, % of a core": 100 * cpu / IDLE_SECONDS,
    }


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def claims(url: str, n_dispatchers: int) -> dict[str, float]:
    """Claim a queue empty, one submission at a time, from threads with a connection each."""
    database = Database(url)
    with database.session() as session:
        event_id = add_toy_event(session).id
    submit(database, N_CLAIMS)
    barrier = threading.Barrier(n_dispatchers + 1)
    counts: list[int] = []

    def claim_all() -> None:
        own = Database(url)
        with own.session() as session:
            me = dispatchers.register(session, event_id, "host", 1)
        barrier.wait()
        n = 0
        while True:
            with own.session() as session:
                got = queue.claim(session, event_id, me, 1)
            if not got:
                break
            n += 1
        counts.append(n)
        own.dispose()

    threads = [threading.Thread(target=claim_all) for _ in range(n_dispatchers)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started_at = time.monotonic()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started_at
    database.dispose()
    assert sum(counts) >= N_CLAIMS * 0.99, "SKIP LOCKED left too many"
    return {f"claims a second, {n_dispatchers} dispatchers": sum(counts) / seconds}


def measure(make_url: Callable[[], str]) -> dict[str, dict[str, float]]:
    """Take every figure on databases of its own."""

    def on_new(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
        database = Database(make_url())
        database.upgrade()
        try:
            return work(database, *arguments)
        finally:
            database.dispose()

    found: dict[str, dict[str, float]] = {}
    for mode in (WAKING, POLLING):
        found[mode] = on_new(latencies, mode) | on_new(burst, mode)
        for n_running in (0, 64):
            found[mode] |= on_new(at_rest, mode, n_running)
    for n_dispatchers in (1, 4, 16):
        url = make_url()
        prepared = Database(url)
        prepared.upgrade()
        prepared.dispose()
        found[WAKING] |= claims(url, n_dispatchers)
    return found


@contextlib.contextmanager
def places(kind: str, *, is_durable: bool = False) -> Iterator[Callable[[], str]]:
    """Give what makes the URLs of new databases."""
    made = iter(range(1000))
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="ramp-benchmark-") as directory:
            yield lambda: f"sqlite:///{directory}/{next(made)}.db"
        return
    with temporary_server(is_durable=is_durable) as server:

        def make() -> str:
            name = f"benchmark_{next(made)}"
            server.admin(f"CREATE DATABASE {name}")
            return server.url(name)

        yield make


def print_table(figures: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print a table for each database, with the ratio to the baseline of the same run."""
    for kind, modes in figures.items():
        print("".join([f"{kind:44}", *(f"{mode:>26}" for mode in modes), f"{'x baseline':>14}"]))
        for name, value in modes[WAKING].items():
            base = modes[POLLING].get(name, math.nan)
            ratio = value / base if base else math.nan
            cells = ["-" if math.isnan(one) else f"{one:.2f}" for one in (value, base, ratio)]
            print(f"{name:44}{cells[0]:>26}{cells[1]:>26}{cells[2]:>14}")
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    kinds = ["sqlite", "postgresql"]
    parser.add_argument("--databases", nargs="+", choices=kinds, default=kinds)
    durable = "Let PostgreSQL wait for the disk at each commit: measures the disk, too."
    parser.add_argument("--durable", action="store_true", help=durable)
    options = parser.parse_args()
    figures = {}
    for kind in options.databases:
        with places(kind, is_durable=options.durable) as make_url:
            figures[kind] = measure(make_url)
    print_table(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
