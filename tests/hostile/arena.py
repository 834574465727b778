"""The hostile set through a dispatcher, at one level of confinement.

A deployment of its own, in a folder that everybody may enter, is given the submissions of `cases`,
honest ones between them; one real dispatcher evaluates them all.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ramp_database import events, people, submissions
from ramp_database.config import load_deployment
from ramp_database.session import Database
from ramp_database.submissions import SubmissionFile
from ramp_engine.config import load_event
from ramp_engine.fold_process import remove_tree
from ramp_engine.intake import read_files
from ramp_engine.testing import violations, violations_on_disk
from tests.acceptance.deployment import Deployment, processes_of, wait_until
from tests.acceptance.warm import WarmPrograms
from tests.hostile import host
from tests.hostile.aftermath import Aftermath, collect
from tests.hostile.bait import Bait
from tests.hostile.cases import LIMITS, Case
from tests.hostile.levels import Level
from tests.open_environment import open_python
from tests.refusals import filtering

#: A dispatcher that has not evaluated the set by then is stuck, on whatever machine [s].
PATIENCE_SECONDS = 900.0
#: So many submissions run at once: some of them only wait for their limit.
N_WORKERS = 4

#: The address space of each process, which saves the machine where no limit of the engine does.
MOST_BYTES = 8 << 30

#: Submissions of the kit, which are evaluated alone first, and again beside the hostile ones.
HONEST = ("starting_kit", "random_forest")
#: Names under which the starting kit is submitted as well.
ODD_NAMES = ("..", "../../etc/x; $(id) `id` '\" %s {0} -rf", "naïve 漢字 \N{GHOST}")
#: The line of a submission in whose place an attacker gets to know everything.
_NO_TARGETS = "TARGETS: dict[str, str] = {}"

#: Where somebody who only looks around has seen all: the rest would cost three times as much.
_THEN_END = (
    "        attack()\n        return super().fit(X, y)",
    "        attack()\n        raise RuntimeError('that was all')",
)

#: Waits to be told, so that its pid is known before, and becomes the dispatcher.
_DISPATCHER = """
import os, resource, sys
assert sys.stdin.readline() == "go\\n"
resource.setrlimit(resource.RLIMIT_AS, ({most}, {most}))
{prelude}
words = ["launch", "dispatcher", "--event-config", "events/iris/config.yml", "--exit-when-done",
         "--n-workers", "{n_workers}"]
os.execv(sys.executable, [sys.executable, "-m", "ramp_engine", *words])
"""


@dataclass(frozen=True, repr=False)  # hundreds of megabytes, in the report of each failure
class Battle:
    """What has come of the set."""

    level: Level
    secrets: Mapping[str, re.Pattern[bytes]]  #: how they look where they have come out
    aftermaths: Mapping[str, Aftermath]  #: by the name of the case
    alone: Mapping[str, Aftermath]  #: of the honest ones, when nobody else ran
    beside: Sequence[Aftermath]  #: of the same, by the same names, beside the hostile ones
    changes: Sequence[str]  #: what is not as it was of files and of the machine's settings
    traces: Mapping[str, Sequence[str]]  #: what submissions have left on the machine, by kind
    violations: Sequence[str]  #: broken promises in the database, and on its disk
    dispatcher_log: str


class Arena:
    """A deployment to be attacked.

    Parameters
    ----------
    level : Level
    root : Path
        Open to everybody.
    programs : WarmPrograms
        For the commands that set it up.
    """

    def __init__(self, level: Level, root: Path, programs: WarmPrograms) -> None:
        self.level = level
        self.root = root
        self.python = open_python()
        self.tmp = root / "tmp"
        self.tmp.mkdir()
        self.tmp.chmod(0o1777)
        self.deployment = Deployment(root / "deployment", programs, "sqlite:///ramp.db")
        keys = {"python": str(self.python), "sandbox_user": level.sandbox_user, "limits": LIMITS}
        lines = yaml.safe_dump(keys, default_flow_style=None).replace("\n", "\n  ")
        self.deployment.add_iris(worker_keys=lines, python=self.python, timeout=240)
        if level.is_cold:
            config = self.deployment.directory / self.deployment.event_config
            text = config.read_text()
            config.write_text(text.replace("evaluation:\n", "evaluation:\n  fold_server: off\n"))
        self.bait = Bait(self.deployment, root)
        self.deployment.deploy()
        self.event = load_event(self.deployment.directory / self.deployment.event_config)
        url = load_deployment(self.deployment.directory / "config.yml").url
        self.database = Database(url)

    def fight(self, cases: Sequence[Case]) -> Battle:
        """Evaluate the honest ones alone, and then everything."""
        alone = self._evaluate_alone()
        self._give_away()
        before = self._state()
        dispatcher = self._start_dispatcher()
        try:
            ids, beside = self._submit(cases, dispatcher.pid)
            self._see_through(dispatcher)
        finally:
            _end(dispatcher)
        aftermaths = {name: self._collect(id_, name) for id_, name in ids.items()}
        return Battle(
            level=self.level,
            secrets=self.bait.patterns(),
            aftermaths=aftermaths,
            alone=alone,
            beside=[self._collect(id_, name) for id_, name in beside],
            changes=host.differences(before, self._state()),
            traces=host.traces_of(self.level.uid, self.root) | {"TMPDIR": _names(self.tmp)},
            violations=self._violations(),
            dispatcher_log=self._log.read_text("utf-8", "replace"),
        )

    def close(self) -> None:
        self.database.dispose()
        self.bait.listeners.close()
        host.remove_traces_of(self.level.uid, self.root)

    # -- submissions

    def _evaluate_alone(self) -> dict[str, Aftermath]:
        ids = {self._add("alone", name, self._files_of(name)): name for name in HONEST}
        self._give_away()
        dispatcher = self._start_dispatcher()
        try:
            self._see_through(dispatcher)
        finally:
            _end(dispatcher)
        return {name: self._collect(id_, name) for id_, name in ids.items()}

    def _submit(
        self, cases: Sequence[Case], dispatcher_pid: int
    ) -> tuple[dict[int, str], list[tuple[int, str]]]:
        """Submit everything, the honest ones at the beginning, between the others, at the end."""
        targets = self.bait.targets(self.python, dispatcher_pid)
        ids: dict[int, str] = {}
        beside: list[tuple[int, str]] = []
        places = {0: "first", len(cases) // 2: "between", len(cases): "last"}
        for number in range(len(cases) + 1):
            if number in places:
                beside += self._add_honest(places[number])
            if number < len(cases):
                case = cases[number]
                files = [SubmissionFile("estimator.py", _armed(case, targets))]
                ids[self._add("hostile", case.name, files)] = case.name
        for name in ODD_NAMES:
            beside.append((self._add("odd", name, self._files_of(HONEST[0])), HONEST[0]))
        return ids, beside

    def _add_honest(self, team: str) -> list[tuple[int, str]]:
        return [(self._add(team, name, self._files_of(name)), name) for name in HONEST]

    def _files_of(self, name: str) -> list[SubmissionFile]:
        return read_files(self.deployment.event / "kit" / "submissions" / name)

    def _add(self, team: str, name: str, files: Sequence[SubmissionFile]) -> int:
        with self.database.session() as session:
            people.ensure_signed_up(session, "iris", team)
            return submissions.add(session, "iris", team, name, files).id

    def _collect(self, submission_id: int, name: str) -> Aftermath:
        with self.database.session(read_only=True) as session:
            return collect(session, submission_id, name, self.deployment.event)

    # -- the dispatcher

    @property
    def _log(self) -> Path:
        return self.root / "dispatcher.log"

    def _start_dispatcher(self) -> subprocess.Popen[str]:
        prelude = filtering(dict(self.level.refused))
        code = _DISPATCHER.format(prelude=prelude, n_workers=N_WORKERS, most=MOST_BYTES)
        with self._log.open("a") as log:
            return subprocess.Popen(
                [self.python, "-c", code],
                cwd=self.deployment.directory,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.bait.home),
                    "TMPDIR": str(self.tmp),
                    "LANG": "C.UTF-8",
                    **self.bait.variables,
                },
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                **self.level.dispatcher(),
            )

    def _see_through(self, dispatcher: subprocess.Popen[str]) -> None:
        dispatcher.communicate("go\n", timeout=PATIENCE_SECONDS)
        log = self._log.read_text("utf-8", "replace")
        assert dispatcher.returncode == 0, log[-5000:]

    def _give_away(self) -> None:
        """Give the deployment to who runs the dispatcher."""
        uid = self.level.dispatcher_uid
        if uid is None or os.geteuid() != 0:
            return
        for folder in (self.deployment.directory, self.bait.home):
            for path in (folder, *folder.rglob("*")):
                os.chown(path, uid, uid, follow_symlinks=False)

    # -- the host

    def _state(self) -> dict[str, str]:
        event = self.deployment.event
        kept = [event / "kit", event / "data", event / "config.yml", self.bait.bundle.parent]
        kept += [self.deployment.directory / "config.yml", self.bait.home, self.bait.canary]
        folders = {str(self.root): str(_names(self.root))}
        return (
            host.files_of(*kept)
            | host.listing_of(self.python.parent.parent)
            | host.settings_of_the_machine()
            | folders
        )

    def _violations(self) -> list[str]:
        with self.database.session(read_only=True) as session:
            event_id = events.get_event(session, "iris").id
            found = violations(session, event_id)
            return found + violations_on_disk(session, event_id, self.event)


def _armed(case: Case, targets: Mapping[str, str]) -> bytes:
    """Give a submission's code, with the places that it may know."""
    text = case.path.read_text(encoding="utf-8").replace(
        _NO_TARGETS, f"TARGETS = {dict(targets)!r}"
    )
    return (text.replace(*_THEN_END) if case.only_looks else text).encode()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _end(process: subprocess.Popen[str]) -> None:
    """End a dispatcher that lives on, and with it all that it runs."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def opened(level: Level) -> Iterator[Arena]:
    """Set up a deployment; remove it in the end, with all that still runs in it."""
    root = Path(tempfile.mkdtemp(prefix="ramp-arena-", dir="/tmp"))
    root.chmod(0o755)
    programs = WarmPrograms()
    try:
        with contextlib.closing(Arena(level, root, programs)) as arena:
            yield arena
        assert wait_until(lambda: processes_of(root) == [], seconds=30), processes_of(root)
    finally:
        programs.end()
        remove_tree(root)
