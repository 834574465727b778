"""Run the evaluation's commands as the engine runs them: in a process of the event's Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ramp_engine
from tests.kits.data import make_data
from tests.kits.light import lighten
from tests.open_environment import open_python

ROOT = Path(__file__).parents[2]
KITS = Path(__file__).parent
EVALUATION = Path(ramp_engine.__file__).parent / "evaluation"

#: Runs many commands in one process, since importing takes longer than any of them.
BATCH = """
import json, os, sys
from ramp_engine.evaluation.command import main
for arguments, log in json.load(sys.stdin):
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush(), sys.stderr.flush(), os.dup2(descriptor, 1), os.dup2(descriptor, 2)
    os.close(descriptor)
    code = main(arguments)
    with open(log + ".code", "w") as file:
        file.write(str(code))
"""


@dataclass(frozen=True)
class Result:
    """What a command leaves."""

    code: int
    content: dict[str, Any]
    log: str

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.content["error"]
        return error


class Event:
    """A kit with its data, its bundle, and folders for what is made of submissions."""

    def __init__(self, root: Path, kit: Path, data: Path, label: str | None = None) -> None:
        self.root = root
        self.kit = kit
        self.data = data
        self.label = label
        self.bundles = root / "bundles"
        self.prepared: dict[str, Any] = {}

    @property
    def bundle(self) -> Path:
        return self.bundles / str(self.prepared["bundle"])

    def prepare(self, *more: str) -> Result:
        result = run(self.prepare_arguments(*more), self.root / "prepare.log")
        if result.code == 0:
            self.prepared = result.content
        return result

    def prepare_arguments(self, *more: str, name: str = "prepare") -> list[str]:
        label = ["--data-label", self.label] if self.label else []
        places = {"kit": self.kit, "data": self.data, "bundles-dir": self.bundles}
        return ["prepare", *_options(places, self.root / f"{name}.json"), *label, *more]

    def fold(self, submission: Path, *more: str) -> Result:
        return run(self.fold_arguments(submission, *more), self.log(submission))

    def log(self, submission: Path) -> Path:
        return self.root / f"{submission.name}.log"

    def output(self, submission: Path) -> Path:
        return self.root / "output" / submission.name

    def private_log(self, submission: Path) -> Path:
        return self.root / "private" / submission.name

    def fold_arguments(self, submission: Path, *more: str) -> list[str]:
        places = {
            "bundle": self.bundle / "public",
            "submission": submission,
            "output": self.output(submission),
            "scratch": self.root / "scratch" / submission.name,
            "private-log": self.private_log(submission),
        }
        return ["fold", *_options(places, self.root / f"{submission.name}.fold.json"), *more]

    def score(self, submission: Path) -> Result:
        log = self.root / f"{submission.name}.score.log"
        return run(self.score_arguments(submission.name, self.output(submission)), log)

    def score_arguments(self, name: str, predictions: Path) -> list[str]:
        places = {
            "bundle": self.bundle / "public",
            "labels": self.bundle / "labels",
            "data": self.data,
            "predictions": predictions,
            "output": self.root / "scored" / name,
        }
        return ["score", *_options(places, self.root / f"{name}.score.json")]

    def scored(self, submission: Path) -> Path:
        return self.root / "scored" / submission.name


def _options(places: dict[str, Path], result: Path) -> list[str]:
    options = {**places, "result": result}
    return [text for name, place in options.items() for text in (f"--{name}", str(place))]


def event_of(kit: str, root: Path, style: str = "", label: str | None = None) -> Event:
    """Make an event of one of the kits beside this file."""
    shutil.copytree(KITS / kit, root / "kit")
    return Event(root, root / "kit", make_data(kit, root / "data", style), label)


def bundled_event(name: str, root: Path) -> Event:
    """Make an event of one of those that come with RAMP."""
    ignored = shutil.ignore_patterns("training_output", "__pycache__", "data")
    shutil.copytree(ROOT / "events" / name / "kit", root / "kit", ignore=ignored)
    (root / "data").mkdir()
    shutil.copy(ROOT / "events" / name / "data" / "prepare_data.py", root / "data")
    subprocess.run([sys.executable, root / "data" / "prepare_data.py"], check=True)
    return Event(root, root / "kit", root / "data")


def light_event(root: Path) -> Event:
    """Make an event of iris that does without scikit-learn."""
    for part in ("kit", "data"):
        (root / part).mkdir()
    (root / "data" / "prepare_data.py").touch()
    lighten(root / "kit")
    subprocess.run([open_python(), root / "data" / "prepare_data.py"], check=True)
    return Event(root, root / "kit", root / "data")


def run(arguments: Sequence[str], log: Path) -> Result:
    """Run one command in a process of its own, as a worker does."""
    command = [str(open_python()), "-I", str(EVALUATION), *arguments]
    with log.open("wb") as output:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", check=False
        ).returncode
    return _result(code, arguments, log)


def run_many(commands: Sequence[tuple[Sequence[str], Path]]) -> list[Result]:
    """Run several commands one after the other, in one process."""
    lines = json.dumps([(list(arguments), str(log)) for arguments, log in commands])
    subprocess.run([open_python(), "-c", BATCH], input=lines, text=True, cwd=ROOT, check=True)
    codes = [int(log.with_name(f"{log.name}.code").read_text()) for _, log in commands]
    return [_result(code, *command) for code, command in zip(codes, commands, strict=True)]


def _result(code: int, arguments: Sequence[str], log: Path) -> Result:
    result = Path(arguments[arguments.index("--result") + 1])
    content = json.loads(result.read_text()) if result.exists() else {}
    return Result(code, content, log.read_text("utf-8", "replace"))


def ramp_test(event: Event, submission: Path) -> Path:
    """Run the kit's own command and return its training_output."""
    submissions = event.root / "ramp-test"
    shutil.copytree(submission, submissions / submission.name)
    command = [
        str(Path(sys.executable).with_name("ramp-test")), "--save-output",
        "--submission", submission.name, "--ramp-submission-dir", str(submissions),
        "--ramp-kit-dir", str(event.kit), "--ramp-data-dir", ".",
        *(["--data-label", event.label] if event.label else []),
    ]  # fmt: skip
    subprocess.run(command, cwd=event.data, check=True, capture_output=True)
    return submissions / submission.name / "training_output" / (event.label or "")
