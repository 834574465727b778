"""The directories of an attempt, and the way of its outputs to where they are published.

An attempt works in directories of its own, ``work_dir/attempts/<submission>-<attempt>/``. What it
leaves there was written by somebody else's code: only files of known names are taken, regular ones,
no link is followed, and sizes are bounded. They are copied beside their destination and put in
place by renaming, so that a reader sees all of them or none.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ramp_database import submissions
from ramp_database.queue import Claim
from ramp_engine.errors import CollectError
from ramp_engine.evaluation.untrusted_files import is_regular, read_text
from ramp_engine.fold_outputs import copy_log, copy_predictions, open_untrusted
from ramp_engine.fold_process import remove_tree
from ramp_engine.outcome import FoldFacts, LimitFacts

_FOLD = re.compile(r"fold_(\d{1,4})")
_ATTEMPT = re.compile(r"\.?submission_(\d{9,})-(\d+)-(\d+)(\.scored)?(\.old)?")
#: Holds the name of the bundle, beside predictions that wait to be scored.
_BUNDLE = "bundle.txt"
#: A larger state or error is not read, in bytes.
MAX_TEXT_BYTES = 1 << 20
#: Names and permissions of the logs that are published.
_LOGS = {"log": 0o644, "private.log": 0o600}


@dataclass(frozen=True)
class AttemptDirectory:
    """Where one attempt of a submission works.

    Parameters
    ----------
    root : Path
        The directory of the attempt; it belongs to no other attempt.
    submission : str
        The name of the submission's directories, such as ``submission_000000001``.
    """

    root: Path
    submission: str

    @property
    def submissions_dir(self) -> Path:
        """Where ``<submission>/`` with the participant's files lies."""
        return self.root / "submissions"

    @property
    def predictions_dir(self) -> Path:
        """Where the worker puts ``<submission>/fold_<i>/``."""
        return self.root / "predictions"

    @property
    def logs_dir(self) -> Path:
        """Where the worker puts ``<submission>/log``."""
        return self.root / "logs"

    @property
    def scored_dir(self) -> Path:
        """Where the score step writes."""
        return self.root / "scored"

    @property
    def done_dir(self) -> Path:
        """Where folds are that were done before the end of the attempt."""
        return self.root / "done"

    @property
    def fold_predictions_dir(self) -> Path:
        """The submission's predictions as the worker left them."""
        return self.predictions_dir / self.submission

    def worker_keys(self) -> dict[str, str]:
        """Give the directories as the keys of a worker's ``config`` that RAMP's workers know."""
        return {
            "submissions_dir": str(self.submissions_dir),
            "predictions_dir": str(self.predictions_dir),
            "logs_dir": str(self.logs_dir),
        }

    def make(self) -> None:
        """Make the directories, empty, also where an earlier dispatcher left some behind."""
        self.remove()
        for directory in (self.submissions_dir, self.predictions_dir, self.logs_dir):
            directory.mkdir(parents=True)

    def remove(self) -> None:
        """Remove everything of the attempt; a directory that is gone already is fine."""
        remove_tree(self.root)


def attempt_directory(work_dir: Path, submission: str, claim: Claim) -> AttemptDirectory:
    """Name the directories of an attempt; nothing is made.

    They are the claim's own: who takes an attempt over from a dispatcher that seems dead does not
    meet it there.
    """
    name = f"{submission}-{claim.attempt}-{claim.dispatcher_id}"
    return AttemptDirectory(work_dir / "attempts" / name, submission)


def left_on_disk(*directories: Path) -> dict[Path, Claim]:
    """Find what belongs to attempts: their directories, what they staged and what they moved aside.

    Parameters
    ----------
    *directories : Path
        Those of attempts, submissions, predictions and logs; one may be missing.

    Returns
    -------
    dict
        From the path to the claim of the attempt.
    """
    paths = [path for parent in directories if parent.is_dir() for path in parent.iterdir()]
    matches = ((path, _ATTEMPT.fullmatch(path.name)) for path in paths)
    return {path: Claim(int(m[1]), int(m[2]), int(m[3])) for path, m in matches if m}


def siblings(directory: AttemptDirectory) -> list[Path]:
    """Find the directories of an attempt that its earlier owners on this machine made.

    That of the newest owner first, who took over what there was before.
    """
    root = directory.root
    prefix = root.name.rsplit("-", 1)[0]
    found = left_on_disk(root.parent)
    others = [path for path in found if path != root and path.name.rsplit("-", 1)[0] == prefix]
    return sorted(others, key=lambda path: found[path].dispatcher_id, reverse=True)


def read_folds(directory: Path) -> tuple[FoldFacts, ...]:
    """Read what the folds of an attempt left behind, in the order of the folds.

    Parameters
    ----------
    directory : Path
        Holds ``fold_<i>/``; it may be missing.
    """
    if not directory.is_dir() or directory.is_symlink():
        return ()
    matches = ((_FOLD.fullmatch(path.name), path) for path in directory.iterdir())
    folds = {int(match[1]): path for match, path in matches if match and not path.is_symlink()}
    return tuple(_fold_facts(index, folds[index]) for index in sorted(folds))


def _fold_facts(index: int, fold: Path) -> FoldFacts:
    return FoldFacts(
        fold=index,
        state=read_text(fold, "state.txt", MAX_TEXT_BYTES).strip() or None,
        error=read_text(fold, "error.txt", MAX_TEXT_BYTES).strip() or None,
        limit=_limit(read_text(fold, "limit.json", MAX_TEXT_BYTES)),
        has_predictions=any(is_regular(fold, f"y_pred_train.{kind}") for kind in ("npz", "json")),
    )


def _limit(text: str) -> LimitFacts | None:
    """Read what is said of a limit that was exceeded; the submission itself may have written it."""
    try:
        content = json.loads(text)
        figure, allowed = float(content["figure"]), float(content["allowed"])
        return LimitFacts(str(content["limit"])[:50], figure, allowed, str(content["unit"])[:20])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def stage_predictions(source: Path, predictions_dir: Path, name: str, bundle: str) -> Path:
    """Copy the predictions of an attempt beside the place where they will be published.

    Parameters
    ----------
    source : Path
        Holds ``fold_<i>/`` as the worker left them.
    predictions_dir : Path
        The event's directory; made when missing.
    name : str
        Of the staged directory, unique to the attempt.
    bundle : str
        Name of the bundle that they were made with; `made_with` reads it.

    Returns
    -------
    Path
        The staged directory, for `publish`.

    Raises
    ------
    CollectError
        The disk refuses; nothing is left behind.
    """
    with _staging(predictions_dir, name) as staged:
        copy_predictions(source, staged)
        (staged / _BUNDLE).write_text(bundle)
    return staged


def made_with(predictions: Path) -> str | None:
    """Tell with which bundle published predictions were made.

    None when they are not as `stage_predictions` left them: gone, or scored and rewritten already.
    """
    return read_text(predictions, _BUNDLE) or None


def stage_logs(source: Path, logs_dir: Path, name: str) -> Path:
    """Copy the logs of an attempt beside the place where they will be published.

    Parameters
    ----------
    source : Path
        Holds the logs of the attempt's submission.
    logs_dir, name
        As for `stage_predictions`, which tells the rest.
    """
    with _staging(logs_dir, name) as staged:
        for log_name, mode in _LOGS.items():
            if is_regular(source, log_name):
                with open_untrusted(source / log_name) as log:
                    copy_log(log, staged / log_name, mode)
    return staged


@contextmanager
def _staging(parent: Path, name: str) -> Iterator[Path]:
    """Make a hidden directory, anew; remove it when it cannot be filled."""
    staged = parent / f".{name}"
    try:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        yield staged
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise CollectError(f"outputs cannot be copied to {parent}: {error}") from error


def publish(staged: Path, target: Path) -> None:
    """Put a staged directory in place of `target`, by renaming.

    Call it inside the transaction that holds the claim: no other dispatcher can then do the same.
    When the transaction has to be done again, what was put in place already stays there.

    Raises
    ------
    CollectError
        The filesystem refuses; `target` is what it was.
    """
    if not staged.exists() and target.exists():
        return
    old = staged.with_name(f"{staged.name}.old")  # known by its attempt, as all that may be left
    try:
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        staged.rename(target)
    except OSError as error:
        raise CollectError(f"{target} cannot be published: {error}") from error
    shutil.rmtree(old, ignore_errors=True)


def write_submission(
    files: Sequence[submissions.SubmissionFile], directory: AttemptDirectory, kept_dir: Path
) -> None:
    """Write the participant's files for an attempt, and a copy for organisers to read.

    Parameters
    ----------
    files : sequence of SubmissionFile
    directory : AttemptDirectory
        Made.
    kept_dir : Path
        Holds the copies of all submissions.
    """
    directory.make()
    submissions.write_files(files, directory.submissions_dir / directory.submission)
    staged = kept_dir / f".{directory.root.name}"
    try:
        remove_tree(staged)
        submissions.write_files(files, staged)
        publish(staged, kept_dir / directory.submission)
    finally:
        remove_tree(staged)  # what a full disk left of it


def move_across(source: Path, staged: Path) -> Path:
    """Move a directory that a trusted step wrote to `staged`, also to another filesystem.

    Raises
    ------
    CollectError
        The filesystem refuses.
    """
    try:
        shutil.rmtree(staged, ignore_errors=True)
        shutil.move(source, staged)
    except OSError as error:
        raise CollectError(f"{source} cannot be moved to {staged}: {error}") from error
    return staged
