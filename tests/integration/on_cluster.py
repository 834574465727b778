"""An iris event whose folds run on a cluster, and submissions that a test holds in mid-fold."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import yaml
from sqlalchemy import select, update

from ramp_database import events, people, queue, submissions
from ramp_database.model import Attempt, Event, FoldScore, Submission
from ramp_database.session import Database
from ramp_database.states import FINAL, State
from ramp_engine.config import EventConfig, load_event
from ramp_engine.deployment import deploy
from ramp_engine.testing import violations, violations_on_disk
from tests.integration.dispatching import Witness, attempts, dispatching_event, row, wait_for
from tests.kits.light import lighten
from tests.lasting import lasting_folder
from tests.open_environment import open_python
from tests.remote.node_dirs import NodeDir
from tests.remote.node_room import is_alive

ROOT = Path(__file__).parents[2]
IRIS = ROOT / "events" / "iris"

#: Tells of each fold that begins, with a child of its own, and waits for leave to go on.
_GATED = """
import json, os, pathlib, signal, time
import numpy as np
from nearest import NearestMean

GATE = pathlib.Path({gate!r})
SAVED = pathlib.Path(os.environ.get("RAMP_CHECKPOINT_DIR", "/nowhere"), "saved")

class Gated(NearestMean):
    def fit(self, X, y):
        rng = np.random.default_rng(57)
        first = [rng.permutation(round(len(X) / 0.6))[0] for _ in range(2)]
        fold = first.index(X.index[0])
        child = os.fork()
        if child == 0:
            os.setsid()
            time.sleep(3600)
        saved = sorted(path.read_text() for path in SAVED.parent.glob("*"))
        facts = dict(fold=fold, pids=[os.getpid(), child], saved=saved, where=os.getcwd())
        if fold in {deaf}:
            signal.signal(signal.SIGTERM, lambda *_: (GATE / f"asked-{{fold}}").touch())
        elif {is_saving}:
            def save(number, frame):
                SAVED.write_text(f"{{GATE.name}} {{fold}}")
                os._exit(0)
            signal.signal(signal.SIGTERM, save)
        told = GATE / f"told-{{time.time_ns()}}"
        told.with_suffix(".new").write_text(json.dumps(facts))
        told.with_suffix(".new").rename(told)
        print("fold", fold, "waits", flush=True)
        while not any((GATE / name).exists() for name in ("open", f"open-{{fold}}")):
            time.sleep(0.02)
        return super().fit(X, y)

def get_estimator():
    return Gated()
"""


@dataclass(frozen=True)
class Begun:
    """A fold that has begun on a node."""

    fold: int
    pids: tuple[int, ...]  #: its process, and a child that has left its session
    saved: tuple[str, ...]  #: what was in its checkpoint directory
    where: str  #: the folder it works in

    @property
    def is_gone(self) -> bool:
        return not any(map(is_alive, self.pids))


class Gate:
    """Where the folds of a submission wait.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        #: Says why none begins any more; empty while some may.
        self.verdict: Callable[[], str] = str

    @property
    def name(self) -> str:
        return self._folder.name

    def source(self, *, is_saving: bool, deaf: tuple[int, ...]) -> str:
        return _GATED.format(gate=str(self._folder), is_saving=is_saving, deaf=deaf)

    def await_asked(self, fold: int) -> None:
        """Wait until a deaf fold has been asked to leave."""
        assert wait_for(lambda: (self._folder / f"asked-{fold}").exists()), self.verdict()

    def open(self, fold: int | None = None) -> None:
        """Let all folds go on, or one."""
        (self._folder / ("open" if fold is None else f"open-{fold}")).touch()

    @property
    def begun(self) -> list[Begun]:
        """All that have begun so far, in their order."""
        told = sorted(path for path in self._folder.glob("told-*") if not path.suffix)
        facts = [json.loads(path.read_text()) for path in told]
        return [
            Begun(one["fold"], tuple(one["pids"]), tuple(one["saved"]), one["where"])
            for one in facts
        ]

    def await_begun(self, n_folds: int) -> list[Begun]:
        """Wait until so many folds have begun since the start."""
        wait_for(lambda: len(self.begun) >= n_folds or self.verdict())
        assert len(self.begun) >= n_folds, f"only {self.begun}: {self.verdict()}"
        return self.begun

    def await_gone(self) -> None:
        """Wait until nothing is left of any fold that has begun."""
        assert wait_for(lambda: all(one.is_gone for one in self.begun)), self.begun


class ClusterEvent:
    """A folder with a deployed event, its database, and who dispatches it.

    It is a copy of one that is deployed once, since nothing of that depends on the worker.

    Parameters
    ----------
    folder : Path
    name : str
        Of the event.
    worker, dispatcher : dict
        Further keys of these sections.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        worker: dict[str, Any],
        dispatcher: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.name = folder, name
        self.nodes = NodeDir(folder / "nodes")
        python = str(open_python())
        keys = {"python": python, "sandbox": "off", "node_dir": str(self.nodes.path)}
        beat = {"heartbeat_seconds": 0.5, "stale_after_seconds": 2.0}
        beat |= {"time_between_collection": 0.2, "n_workers": 2, "n_threads": 1}
        self._config: dict[str, Any] = {
            "ramp": {"problem_name": "iris", "event_name": name},
            "worker": keys | worker,
            "evaluation": {"python": python},
            "dispatcher": beat | (dispatcher or {}),
        }
        place = folder / "events" / name
        shutil.copytree(_deployed_once() / "iris", place)
        shutil.copy(_deployed_once() / "ramp.db", folder)
        self.path = place / "config.yml"
        self.configure()
        url = f"sqlite:///{folder}/ramp.db"
        (folder / "config.yml").write_text(f"sqlalchemy:\n  url: {url}\n")
        self.database = Database(url)
        with self.database.session() as session:
            session.execute(update(Event).values(name=name, title=name, config_path=str(self.path)))
        self._n_gates = 0

    def configure(self, **worker: Any) -> None:
        """Write the event's file, with other keys of its worker; None: not there."""
        section = self._config["worker"] | worker
        self._config["worker"] = {key: item for key, item in section.items() if item is not None}
        self.path.write_text(yaml.safe_dump(self._config))
        self.event: EventConfig = load_event(self.path)

    # Submissions

    def submit(self, source: str) -> int:
        files = [submissions.SubmissionFile("estimator.py", textwrap.dedent(source).encode())]
        with self.database.session() as session:
            name = f"s{os.urandom(4).hex()}"
            return submissions.add(session, self.name, "blue", name, files).id

    def submit_gated(
        self, *, is_saving: bool = False, deaf: tuple[int, ...] = ()
    ) -> tuple[int, Gate]:
        """Submit one whose folds wait, and save their name when they have to leave.

        Folds that are deaf go on when they are asked to leave.
        """
        self._n_gates += 1
        gate = Gate(self.folder / f"gate-{self._n_gates}")
        number = self.submit(gate.source(is_saving=is_saving, deaf=deaf))
        gate.verdict = lambda: self._verdict(number)
        return number, gate

    def _verdict(self, number: int) -> str:
        state = self.row(number).state
        return f"{state}: {self.log(number)}" if state in FINAL else ""

    def row(self, number: int) -> Submission:
        return row(self.database, number)

    def attempts(self, number: int) -> list[Attempt]:
        return attempts(self.database, number)

    def log(self, number: int) -> str:
        """Give what the participant sees of the last attempt."""
        name = submissions.directory_name(number)
        return (self.event.ramp.logs_dir / name / "log").read_text()

    def await_end(self, number: int) -> Submission:
        """Wait until a submission is in a final state."""
        assert wait_for(lambda: self.row(number).state in FINAL), self.row(number).state
        return self.row(number)

    def await_scored(self, number: int) -> list[str | None]:
        """Wait until a submission is scored; give what became of its attempts."""
        found = self.await_end(number)
        assert found.state is State.SCORED, (found.state, self.log(number))
        return [one.outcome for one in self.attempts(number)]

    def scores(self, number: int) -> list[dict[str, Any]]:
        """Give all scores of all folds."""
        names = ("fold", "score_type_id", "train", "valid", "test")
        query = select(FoldScore).where(FoldScore.submission_id == number)
        with self.database.session(read_only=True) as session:
            found = session.scalars(query.order_by(FoldScore.fold, FoldScore.score_type_id))
            return [{name: getattr(one, name) for name in names} for one in found]

    def cancel_rest(self) -> None:
        """Have nothing of a test that has failed in the way of the next one."""
        with self.database.session() as session:
            query = select(Submission.id).where(Submission.state.not_in(FINAL))
            for number in session.scalars(query).all():
                queue.cancel(session, number, "the test is over")

    def check(self) -> None:
        """See that all promises hold, and that nothing runs on any node."""
        self.nodes.await_nothing_runs()
        with self.database.session(read_only=True) as session:
            event_id = events.get_event(session, self.name).id
            assert violations(session, event_id) == []
            of_files = partial(violations_on_disk, session, event_id, self.event)
            assert wait_for(lambda: not of_files()), of_files()  # directories go after the record

    # Who evaluates

    @contextmanager
    def dispatching(self) -> Iterator[Witness]:
        """Dispatch in a thread of this process; at the end no agent is left."""
        with dispatching_event(self.database, self.event, score=None) as witness:
            yield witness
        self.nodes.await_no_agents()

    @contextmanager
    def dispatcher_process(self, *prefix: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program, perhaps by another one; it is killed at the end if it still runs."""
        with self.running([*prefix, *self._ramp("launch", "dispatcher")]) as process:
            yield process

    @contextmanager
    def running(self, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program here that talks to `dispatcher_log`; at the end it is killed."""
        with self.dispatcher_log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=self._environment
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def doctor(self) -> str:
        """Give what the program finds."""
        found = subprocess.run(
            self._ramp("doctor"),
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return found.stdout

    def _ramp(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "ramp_engine", *words, "--event-config", str(self.path)]

    @property
    def dispatcher_log(self) -> Path:
        """What the program has said as a dispatcher."""
        return self.folder / "dispatcher.log"

    @property
    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "RAMP_CONFIG"}
        return kept | {"PYTHONPATH": str(ROOT)}

    def gateways(self) -> list[int]:
        """List the processes of gateways that have their folder here."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if "ramp_engine.remote.gateway" in words and str(self.folder) in words:
                found.append(int(entry.name))
        return found


_Event = TypeVar("_Event", bound=ClusterEvent)


@contextmanager
def cluster_event(
    name: str,
    worker: dict[str, Any],
    kind: Callable[..., _Event] = ClusterEvent,  # type: ignore[assignment]
    **options: Any,
) -> Iterator[_Event]:
    """Deploy an event on a cluster; when it fails, what dispatchers and gateways said is shown."""
    with tempfile.TemporaryDirectory(prefix="ramp-t-") as path:
        folder = Path(path)
        folder.chmod(0o755)
        event = kind(folder, name, worker, **options)
        try:
            yield event
        except BaseException:
            for log in [*folder.glob("*.log"), *folder.rglob("gateway.log")]:
                print(f"--- {log}\n{log.read_text(errors='replace')[-20_000:]}")
            raise
        finally:
            event.database.dispose()


@cache
def _deployed_once() -> Path:
    """Deploy the event, with a team, in a folder that lasts."""
    folder = lasting_folder("ramp-deployed-")
    place = folder / "iris"
    _copy_kit(place)
    config = {
        "ramp": {"problem_name": "iris", "event_name": "iris"},
        "worker": {"worker_type": "local"},
        "evaluation": {"python": str(open_python())},
    }
    (place / "config.yml").write_text(yaml.safe_dump(config))
    database = Database(f"sqlite:///{folder}/ramp.db")
    deploy(database, load_event(place / "config.yml"))
    with database.session() as session:
        people.ensure_signed_up(session, "iris", "blue")
    database.dispose()
    return folder


def _copy_kit(place: Path) -> None:
    ignored = shutil.ignore_patterns("*.csv", "__pycache__", "training_output")
    for part in ("kit", "data"):
        shutil.copytree(IRIS / part, place / part, ignore=ignored)
    shutil.rmtree(place / "data" / "data", ignore_errors=True)
    lighten(place / "kit")
