"""The dispatcher's loop and its runs, in this process, with faults at chosen places."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from ramp_database import dispatchers, events, people, queue, submissions
from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_engine.config import EventConfig, load_event
from ramp_engine.deployment import deploy
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.errors import DatabaseUnavailableError
from tests.copied import copy_deployment
from tests.kits.light import lighten
from tests.open_environment import open_python

IRIS = Path(__file__).parents[2] / "events" / "iris"
CONFIG = """
ramp: {{problem_name: iris, event_name: iris}}
worker: {{worker_type: local, python: {python}, sandbox: "off"}}
dispatcher: {{n_workers: 1, time_between_collection: 0.1, heartbeat_seconds: 0.5}}
"""
WAITING = """
import pathlib, time
from nearest import NearestMean

def get_estimator():
    pathlib.Path({started!r}).touch()
    while not pathlib.Path({let_go!r}).exists():
        time.sleep(0.01)
    return NearestMean()
"""


#: Appended to a kit's problem.py: making its bundle takes until a file is there.
GATE = """
import pathlib, sys, time
if "prepare" in sys.argv:
    pathlib.Path({started!r}).touch()
    while not pathlib.Path({let_go!r}).exists():
        time.sleep(0.01)
"""


class FlakyDatabase(Database):
    """A database that is away for some of its transactions.

    By chance, since a fixed rhythm can fall into step with the dispatcher's own, and then it is
    always a turn that fails, and never a heartbeat.
    """

    def __init__(self, url: str, share: float) -> None:
        super().__init__(url)
        self._share = share
        self._random = random.Random(1)
        self.n_failures = 0
        self._count = threading.Lock()

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        with self._count:
            is_away = self._random.random() < self._share
            self.n_failures += is_away
        if is_away:
            raise DatabaseUnavailableError(self.label, "planted")
        with super().session(read_only=read_only) as session:
            yield session


@dataclass(frozen=True)
class Gate:
    """What makes the making of a bundle wait."""

    started: Path  #: there when it was begun
    let_go: Path  #: make it to let it go on

    def close(self, event: EventConfig) -> None:
        """Remove the bundle, and let the next one wait."""
        shutil.rmtree(event.ramp.work_dir / "bundles")
        self.started.unlink()
        self.let_go.unlink()


@pytest.fixture(scope="module")
def deployed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a deployed event, to be copied."""
    root = tmp_path_factory.mktemp("deployed")
    folder = root / "events" / "iris"
    for part in ("kit", "data"):
        ignored = shutil.ignore_patterns("*.csv", "__pycache__", "training_output")
        shutil.copytree(IRIS / part, folder / part, ignore=ignored)
    shutil.rmtree(folder / "data" / "data", ignore_errors=True)
    lighten(folder / "kit")
    (folder / "config.yml").write_text(CONFIG.format(python=open_python()))
    database = Database(f"sqlite:///{root}/ramp.db")
    deploy(database, load_event(folder / "config.yml"))
    with database.session() as session:
        people.ensure_signed_up(session, "iris", "blue")
    database.dispose()
    return root


@pytest.fixture
def event(deployed_once: Path, tmp_path: Path) -> EventConfig:
    copy_deployment(deployed_once, tmp_path)
    return load_event(tmp_path / "events" / "iris" / "config.yml")


@pytest.fixture
def gate(event: EventConfig, store: Database, tmp_path: Path) -> Gate:
    """Of an event whose bundle can be made slowly; it is open when the event is deployed."""
    made = Gate(tmp_path / "prepare_started", tmp_path / "prepare_let_go")
    with (event.ramp.kit_dir / "problem.py").open("a") as problem:
        problem.write(GATE.format(started=str(made.started), let_go=str(made.let_go)))
    made.let_go.touch()
    deploy(store, event, is_forced=True)
    return made


@pytest.fixture
def store(event: EventConfig, tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/ramp.db")
    yield database
    database.dispose()


def submit(store: Database, code: str, name: str = "one") -> int:
    files = [submissions.SubmissionFile("estimator.py", code.encode())]
    with store.session() as session:
        return submissions.add(session, "iris", "blue", name, files).id


def standing(store: Database, number: int) -> tuple[str, int]:
    with store.session(read_only=True) as session:
        row = submissions.get(session, number)
        return str(row.state), row.attempt


def starting_kit() -> str:
    return (IRIS / "kit" / "submissions" / "starting_kit" / "estimator.py").read_text()


@contextmanager
def running(dispatcher: Dispatcher) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=dispatcher.run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        dispatcher.stop()
        thread.join(240)
        assert not thread.is_alive()


def wait_until(is_so: Callable[[], bool]) -> bool:
    return any(is_so() or threading.Event().wait(0.05) for _ in range(4800))


def test_a_database_that_is_away_now_and_then_costs_no_attempt(
    event: EventConfig, store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramp_engine.recording.DATABASE_RETRY_SECONDS", 0.01)
    numbers = [submit(store, starting_kit(), name) for name in ("one", "two")]
    flaky = FlakyDatabase(f"sqlite:///{tmp_path}/ramp.db", share=0.3)
    flaky_runs = 0
    while flaky_runs < 5:  # it may also be away when the dispatcher starts: that ends it
        try:
            Dispatcher(flaky, event, is_exiting_when_done=True).run()
            break
        except DatabaseUnavailableError:
            flaky_runs += 1
    assert flaky.n_failures > 3
    assert [standing(store, number) for number in numbers] == [("scored", 1), ("scored", 1)]
    flaky.dispose()


def test_a_claim_that_never_had_a_run_gets_one(event: EventConfig, store: Database) -> None:
    """As when the answer to the claim was lost."""
    number = submit(store, starting_kit())
    dispatcher = Dispatcher(store, event, is_exiting_when_done=True)
    claimed: list[Claim] = []
    register = dispatchers.register

    def register_and_claim(session: Session, event_id: int, *args: object, **kw: object) -> int:
        dispatcher_id = register(session, event_id, *args, **kw)  # type: ignore[arg-type]
        claimed.extend(queue.claim(session, event_id, dispatcher_id, 1))
        return dispatcher_id

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatchers, "register", register_and_claim)
        patch.setattr("ramp_database.queue.returning.FIRST_DELAY_SECONDS", 0.1)
        dispatcher.run()
    assert [claim.submission_id for claim in claimed] == [number]
    assert standing(store, number) == ("scored", 1)


def test_a_run_whose_claim_is_lost_publishes_and_records_nothing(
    event: EventConfig, store: Database, tmp_path: Path
) -> None:
    started, let_go = tmp_path / "started", tmp_path / "let_go"
    number = submit(store, WAITING.format(started=str(started), let_go=str(let_go)))
    dispatcher = Dispatcher(store, event)
    with running(dispatcher):
        assert wait_until(lambda: started.exists() and standing(store, number)[0] == "training")
        with store.session() as session:
            (claim,) = queue.owned_of_event(session, events.get_event(session, "iris").id)
            queue.crash(session, claim, "taken away", max_attempts=1)
        let_go.touch()
        assert wait_until(lambda: not dispatcher.runs)
    assert standing(store, number) == ("checking_error", 1)
    predictions = event.ramp.predictions_dir
    assert not predictions.exists() or list(predictions.iterdir()) == []
    assert not (event.ramp.work_dir / "attempts" / f"submission_{number:09d}-1-1").exists()


def test_an_event_that_is_deleted_ends_its_dispatcher(event: EventConfig, store: Database) -> None:
    dispatcher = Dispatcher(store, event)
    ended = threading.Event()
    failures: list[str] = []

    def run() -> None:
        try:
            dispatcher.run()
        except Exception as error:  # noqa: BLE001
            failures.append(str(error))
        ended.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert wait_until(lambda: bool(_live(store)))
    with store.session() as session:
        events.delete_event(session, "iris")
    assert ended.wait(60)
    assert any("iris" in failure for failure in failures)


def test_a_dispatcher_lives_and_claims_while_its_bundle_is_made(
    event: EventConfig, gate: Gate, store: Database
) -> None:
    gate.close(event)
    limits = {"heartbeat_seconds": 0.1, "stalled_after_seconds": 0.5, "stale_after_seconds": 1.0}
    hasty = event.dispatcher.model_copy(update=limits)
    dispatcher = Dispatcher(store, replace(event, dispatcher=hasty))
    number = submit(store, starting_kit())
    with running(dispatcher):
        assert wait_until(lambda: gate.started.exists())
        assert wait_until(lambda: standing(store, number) == ("sent_to_training", 1))
        assert wait_until(lambda: _seconds_of_life(store) > 2.0), "its heart stopped"
        gate.let_go.touch()
        assert wait_until(lambda: standing(store, number)[0] == "scored")
    assert standing(store, number) == ("scored", 1)


def test_a_dispatcher_that_is_told_to_stop_does_not_wait_for_its_bundle(
    event: EventConfig, gate: Gate, store: Database
) -> None:
    gate.close(event)
    number = submit(store, starting_kit())
    with running(Dispatcher(store, event)):
        assert wait_until(lambda: gate.started.exists())
        assert wait_until(lambda: standing(store, number) == ("sent_to_training", 1))
    with store.session(read_only=True) as session:
        row = submissions.get(session, number)
    assert (row.state, row.outcome, row.n_crashes) == ("new", "interrupted", 0)


def _seconds_of_life(store: Database) -> float:
    """Give the time from a dispatcher's registration to its last heartbeat, in seconds."""
    with store.session(read_only=True) as session:
        (found,) = dispatchers.live(session, events.get_event(session, "iris").id)
        return (found.beat_at - found.started_at).total_seconds()


def _live(store: Database) -> list[object]:
    with store.session(read_only=True) as session:
        found = dispatchers.live(session, events.get_event(session, "iris").id)
        return list(found)
