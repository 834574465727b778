"""What a dispatcher of a rehearsal costs: statements, time in the database, CPU."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

__all__ = ["Costs", "Meter", "read_costs", "reporting"]

#: Time between two reports of a process, in seconds: a killed one has told that much less.
REPORT_SECONDS = 0.5


@dataclass
class Costs:
    """What a process has cost since it was ready."""

    n_statements: int = 0  #: sent to the database, without BEGIN and COMMIT
    database_seconds: float = 0.0  #: that threads waited for it, commits included
    lock_seconds: float = 0.0  #: that it held SQLite's lock for writers; 0 elsewhere
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0


class Meter:
    """Measure an engine and this process from now on.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine) -> None:
        self._costs = Costs()
        self._lock = threading.Lock()
        self._began_at, self._cpu_before = time.monotonic(), time.process_time()
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)
        event.listen(engine, "commit", self._commits)
        event.listen(engine, "reset", self._is_done)

    def read(self) -> Costs:
        """Give the costs until now."""
        with self._lock:
            costs = Costs(**asdict(self._costs))
        costs.cpu_seconds = time.process_time() - self._cpu_before
        costs.wall_seconds = time.monotonic() - self._began_at
        return costs

    def _before(self, connection: Connection, *_: Any) -> None:
        connection.info["meter_from"] = time.monotonic()

    def _after(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        now = time.monotonic()
        if statement == "BEGIN IMMEDIATE":
            connection.info["meter_locked_at"] = now
        with self._lock:
            self._costs.n_statements += not statement.startswith("BEGIN")
            self._costs.database_seconds += now - connection.info["meter_from"]

    def _commits(self, connection: Connection) -> None:
        connection.info["meter_commits_at"] = time.monotonic()

    def _is_done(self, _connection: Any, record: Any, _state: Any) -> None:
        """Add a commit and the time under a lock, when a connection goes back to the pool."""
        now, facts = time.monotonic(), record.info
        with self._lock:
            self._costs.database_seconds += now - facts.pop("meter_commits_at", now)
            self._costs.lock_seconds += now - facts.pop("meter_locked_at", now)


@contextmanager
def reporting(meter: Meter, directory: Path) -> Iterator[None]:
    """Write the costs to a file in `directory`, now and then and at the end of the block."""
    path = directory / f"{os.getpid()}.json"
    ending = threading.Event()

    def write() -> None:
        staged = path.with_suffix(".staged")
        with suppress(OSError):  # the disk may be full, and not only for a rehearsal
            staged.write_text(json.dumps(asdict(meter.read())))
            staged.replace(path)

    def write_on() -> None:
        while not ending.wait(REPORT_SECONDS):
            write()

    thread = threading.Thread(target=write_on, name="reports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        write()


def read_costs(directory: Path) -> list[Costs]:
    """Read what each process has reported last."""
    return [Costs(**json.loads(path.read_text())) for path in sorted(directory.glob("*.json"))]
