"""The fold step of a submission, for workers that run it somewhere else: `FoldStep`.

A worker brings two things to the place where a submission is to run: the event's bundle, which is
the same for all of them (`ramp_engine.bundle_archive.pack` makes one file of it), and what
`FoldStep.write_tar` writes. There it has `FoldStep.command` run, and brings back `FoldStep.left`,
of which `FoldStep.collect` takes what the dispatcher wants. Neither kit, nor data, nor a test label
goes there; the event's Python environment has to be there.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from ramp_engine import evaluation
from ramp_engine.bundle_archive import add_tree
from ramp_engine.errors import CollectError, WorkerSetupError
from ramp_engine.evaluation.run_command import (
    GRACE_SECONDS,
    fold_arguments,
    run_environment,
    threads_of_a_fold,
)
from ramp_engine.fold_outputs import (
    copy_log,
    copy_predictions,
    failure_message,
    open_untrusted,
    read_result,
)
from ramp_engine.fold_process import FoldScratch
from ramp_engine.sandbox import Limits
from ramp_engine.supervised import last_lines

__all__ = ["FoldStep"]

#: So much later than the worker a run itself notices that its time is up, in seconds.
LATE_SECONDS = 60.0
#: Exit codes of env and of the supervisor for a program that is missing or no program.
_NOT_STARTED = (126, 127)


@dataclass(frozen=True)
class FoldStep:
    """What is run of a submission in some other place, and what is taken of it.

    Parameters
    ----------
    config : mapping
        Of the worker. Of what an organiser may say ``limits`` counts (see `SandboxKeys`); there is
        no limit of the memory unless it is given in MB.
    submission : str
    folder : Path
        Where the run is over there, absolute; it belongs to no other run.
    """

    config: Mapping[str, Any]
    submission: str
    folder: Path

    #: What a run leaves in its folder that is wanted here; each may be missing.
    left: ClassVar[tuple[str, ...]] = ("output", "log", "private_log", "result.json")

    def write_tar(self, file: IO[bytes]) -> None:
        """Write a tar of what a run needs in its folder: the submission, and the program.

        Raises
        ------
        WorkerSetupError
            The submission is missing or cannot be read, or the disk refuses.
        """
        submission = Path(self.config["submissions_dir"], self.submission)
        program = Path(evaluation.__path__[0])
        try:
            submission.stat()
            with tarfile.open(fileobj=file, mode="w") as tar:
                for name in ("evaluation", "submission", "home", "work", "tmp"):
                    member = tarfile.TarInfo(name)
                    member.type, member.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(member)
                add_tree(tar, program, "evaluation", follow_links=False, pattern="*.py")
                add_tree(tar, submission, "submission", follow_links=False)
        except OSError as error:
            raise WorkerSetupError(f"{self.submission} cannot be packed: {error}") from error

    def command(
        self, python: str, bundle: Path, *, level: str = "none", life_fd: int | None = None
    ) -> list[str]:
        """Give the command that runs all folds, to be run over there in the folder of the run.

        What it prints belongs into the file ``log`` of that folder. Its exit code is for `collect`.

        Parameters
        ----------
        python : str
            The event's interpreter over there, absolute: Python 3.9 or later with ramp-workflow and
            what the kit needs.
        bundle : Path
            Where the public half of the event's bundle is over there.
        level : str
            How submissions are confined: ``namespaces``, ``landlock`` or ``none``. A machine that
            cannot do it runs nothing, and says why.
        life_fd : int, optional
            A descriptor that the command inherits. Everything that the submission has started is
            ended when the other end writes to it or closes it, when the command itself ends, and
            a minute after ``config["timeout"]``, should the worker not have done so. Without one
            nothing ends what a submission leaves in the background.

        Returns
        -------
        list of str
            Words, none of which is for a shell.
        """
        scratch = FoldScratch(self.folder, self.folder / "tmp")
        n_jobs = int(self.config.get("n_jobs_per_submission", 1))
        public = Path(self.config["bundle_dir"])
        n_threads = threads_of_a_fold(public, self.config.get("n_threads"), n_jobs)
        variables = run_environment(Path(python), scratch.home, scratch.tmp, n_threads, ())
        fold = fold_arguments(
            scratch,
            bundle=bundle,
            submission=self.folder / "submission",
            n_jobs=n_jobs,
            sandbox={"level": level, "limits": self._limits()},
        )
        program = self.folder / "evaluation"
        watched = [] if life_fd is None else self._supervised(python, life_fd)
        pairs = [f"{name}={value}" for name, value in variables.items()]
        return ["env", "-i", *pairs, *watched, python, "-I", str(program), *fold]

    def _supervised(self, python: str, life_fd: int) -> list[str]:
        supervisor = str(self.folder / "evaluation" / "supervise.py")
        options = ["--life-fd", str(life_fd), "--grace", str(GRACE_SECONDS)]
        if self.config.get("timeout") is not None:
            options += ["--timeout", str(float(self.config["timeout"]) + LATE_SECONDS)]
        return [python, "-I", "-S", supervisor, *options, "--"]

    def _limits(self) -> dict[str, Any]:
        limits = Limits.model_validate(self.config.get("limits", {})).model_dump()
        return limits | ({"memory_mb": None} if limits["memory_mb"] == "auto" else {})

    def collect(self, left: Path, returncode: int) -> tuple[int, str]:
        """Put predictions and logs where the dispatcher wants them.

        What a run has left was written by somebody else's code, and is taken as data: regular files
        of known names and bounded sizes, no links.

        Parameters
        ----------
        left : Path
            A folder with a copy of `left`, or a tar of it, not compressed, which is unpacked beside
            itself.
        returncode : int
            Of `command`.

        Returns
        -------
        returncode : int
            0 only where the run says itself that all folds are done.
        error_msg : str

        Raises
        ------
        CollectError
            It is no tar, or the disk refuses.
        WorkerSetupError
            The command could not be started over there: the interpreter is missing.
        """
        try:
            if left.is_dir():
                self._copy(left)
                return self._told(left, returncode)
            unpacked = left.with_name(f"{left.name}.d")
            unpacked.mkdir(exist_ok=True)
            with tarfile.open(left, "r:") as tar:  # compressed, it could be of any size
                tar.extractall(unpacked, filter=_data)  # noqa: S202  each is filtered
        except (OSError, tarfile.TarError) as error:
            reason = f"what {self.submission} has left cannot be taken: {error}"
            raise CollectError(reason) from error
        return self.collect(unpacked, returncode)

    def _copy(self, left: Path) -> None:
        logs = Path(self.config["logs_dir"], self.submission)
        copy_predictions(left / "output", Path(self.config["predictions_dir"], self.submission))
        for name, kept, mode in (("log", "log", 0o644), ("private_log", "private.log", 0o600)):
            with contextlib.suppress(FileNotFoundError), open_untrusted(left / name) as log:
                copy_log(log, logs / kept, mode)

    def _told(self, left: Path, returncode: int) -> tuple[int, str]:
        result = read_result(left / "result.json")
        if result is None and returncode in _NOT_STARTED:
            said = last_lines(Path(self.config["logs_dir"], self.submission, "log"), 1)
            reason = f"the fold step could not be started: {said}"
            raise WorkerSetupError(reason, "Is the event's environment there?")
        message = failure_message(result, returncode)
        return returncode or int(bool(message)), message


def _data(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """Take whole files and folders only: whatever else a run leaves is no reason to lose these."""
    is_plain = member.isdir() or (member.isreg() and not member.issparse())
    return tarfile.data_filter(member, path) if is_plain else None
