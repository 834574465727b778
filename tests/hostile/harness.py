"""Run one hostile submission through the fold step, under a supervisor that lets nothing survive.

A submission is one file in ``submissions/``; its docstring says what it tries. It is bounded by
itself: where nothing holds it, it stops before it harms the machine that tests it. What must hold
is said where it is run.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramp_engine.evaluation import supervise
from ramp_engine.supervised import SupervisedProcess
from tests.kits.evaluation import EVALUATION, Event
from tests.open_environment import open_python

SUBMISSIONS = Path(__file__).parent / "submissions"

#: A fold step that has not ended by then is stuck, on whatever machine [s].
PATIENCE_SECONDS = 240.0


@dataclass(frozen=True)
class Aftermath:
    """What a submission leaves."""

    code: int  #: exit code of the fold step
    folds: list[dict[str, Any]]  #: what the result says of each fold
    log: bytes  #: what participants may see
    private_log: bytes
    output: Path
    survivors: list[int]  #: processes that were there when the fold step had ended

    @property
    def last(self) -> dict[str, Any]:
        """What the result says of the last fold that was run."""
        return self.folds[-1]

    @property
    def limit(self) -> str:
        """The limit that was exceeded, as the file says that the engine reads; else empty."""
        path = self.output / f"fold_{self.last['fold']}" / "limit.json"
        if not path.is_file():
            assert self.last["limit"] is None
            return ""
        assert json.loads(path.read_text()) == self.last["limit"]
        return str(self.last["limit"]["limit"])

    def public(self) -> bytes:
        """All that a participant gets to see."""
        seen = [self.log, json.dumps(self.folds).encode()]
        names = ("error.txt", "limit.json", "state.txt", "train_time", "valid_time", "test_time")
        names += ("y_pred_train.npz", "y_pred_train.json")  # public scores are made of them
        for fold in self.folds:
            folder = self.output / f"fold_{fold['fold']}"
            seen += [(folder / name).read_bytes() for name in names if (folder / name).exists()]
        return b"\n".join(seen)


class Arena:
    """An event, and a way to run hostile submissions in it.

    Parameters
    ----------
    event : Event
        Its bundle is there.
    level : str
        How folds are confined.
    """

    def __init__(self, event: Event, level: str) -> None:
        self.python = open_python()
        self.event = event
        self.level = level

    def run(
        self,
        name: str,
        limits: dict[str, float] | None = None,
        more: Sequence[str] = (),
        within: Sequence[str] = (),
    ) -> Aftermath:
        """Run one submission.

        Parameters
        ----------
        name : str
            Of its file, without suffix.
        limits : dict
            As in ``--sandbox``; none by default.
        more : sequence of str
            Further options of the fold step.
        within : sequence of str
            A command that runs the fold step, which follows as its arguments.
        """
        root = self.event.root / self.level / name
        shutil.rmtree(root, ignore_errors=True)
        submission = root / "submission"
        for folder in (submission, root / "work", root / "tmp"):
            folder.mkdir(parents=True)
        shutil.copy(SUBMISSIONS / f"{name}.py", submission / "estimator.py")
        sandbox = {"level": self.level, "limits": limits or {}}
        if self.level != "none" and os.geteuid() == 0:
            sandbox |= {"uid": 65534, "gid": 65534}
        options = {
            "--bundle": self.event.bundle / "public",
            "--submission": submission,
            "--output": root / "output",
            "--scratch": root / "work",
            "--private-log": root / "private.log",
            "--result": root / "result.json",
            "--sandbox": json.dumps(sandbox),
        }
        arguments = [str(word) for option in options.items() for word in option]
        command = [*within, str(self.python), "-I", str(EVALUATION), "fold", *arguments, *more]
        with (root / "log").open("a+b") as log:
            code, survivors = _run(command, log, root)
        result = root / "result.json"
        content = json.loads(result.read_text()) if result.exists() else {}
        assert "folds" in content, (code, content, (root / "log").read_text("utf-8", "replace"))
        private = root / "private.log"
        return Aftermath(
            code=code,
            folds=content["folds"],
            log=(root / "log").read_bytes(),
            private_log=private.read_bytes() if private.exists() else b"",
            output=root / "output",
            survivors=survivors,
        )


def _run(command: Sequence[str], log: Any, root: Path) -> tuple[int, list[int]]:
    """Run a command; tell its exit code, and what of its tree outlived it.

    A shell stands between the supervisor and the command: while it lives, what the command has
    left behind can still be seen.
    """
    released, release = os.pipe()
    ended, end = os.pipe()
    script = f'"$@" {end}>&- {released}<&-; echo $$ $? >&{end}; read line <&{released}'
    process = SupervisedProcess(
        ["bash", "-c", script, "bash", *command],
        log=log,
        environment={
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(root),
            "TMPDIR": str(root / "tmp"),
            "OMP_NUM_THREADS": "2",
        },
        cwd=root,
        timeout_seconds=PATIENCE_SECONDS,
        pass_on=(released, end),
    )
    os.close(end)
    try:
        with os.fdopen(ended) as answer:
            shell, code = map(int, answer.readline().split())
        survivors = [pid for pid in supervise.descendants(process.pid) if pid != shell]
    finally:
        os.close(release)
        os.close(released)
        process.end()
    return code, survivors
