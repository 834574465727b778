"""The directories of an attempt, and the way of its outputs to where they are published.

An attempt works in directories of its own, ``work_dir/attempts/<submission>-<attempt>/``. What it
leaves there was written by somebody else's code: only files of known names are taken, regular ones,
no link is followed, and sizes are bounded. They are copied beside their destination and put in
place by renaming, so that a reader sees all of them or none.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ramp_engine.errors import CollectError
from ramp_engine.outcome import FoldFacts

_FOLD = re.compile(r"fold_(0|[1-9]\d{0,3})")
_PREDICTIONS = re.compile(r"y_pred_(train|test)\.(npz|json)")
_TIMES = frozenset({"train_time", "valid_time", "test_time"})
#: The largest file of predictions that is taken, in bytes.
MAX_PREDICTIONS_BYTES = 4 << 30
#: The largest small text that is taken, in bytes.
MAX_TEXT_BYTES = 64 << 10
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
    def fold_predictions_dir(self) -> Path:
        """The submission's predictions as the worker left them."""
        return self.predictions_dir / self.submission

    def make(self) -> None:
        """Make the directories, empty, also where an earlier dispatcher left some behind."""
        self.remove()
        for directory in (self.submissions_dir, self.predictions_dir, self.logs_dir):
            directory.mkdir(parents=True)

    def remove(self) -> None:
        """Remove everything of the attempt; a directory that is gone already is fine."""
        shutil.rmtree(self.root, ignore_errors=True)


def attempt_directory(work_dir: Path, submission: str, attempt: int) -> AttemptDirectory:
    """Name the directories of an attempt; nothing is made."""
    return AttemptDirectory(work_dir / "attempts" / f"{submission}-{attempt}", submission)


def read_folds(directory: Path) -> tuple[FoldFacts, ...]:
    """Read what the folds of an attempt left behind, in the order of the folds.

    Parameters
    ----------
    directory : Path
        Holds ``fold_<i>/``; it may be missing.
    """
    return tuple(_fold_facts(index, path) for index, path in _folds(directory))


def stage_predictions(source: Path, predictions_dir: Path, name: str) -> Path:
    """Copy the predictions of an attempt beside the place where they will be published.

    Parameters
    ----------
    source : Path
        Holds ``fold_<i>/`` as the worker left them.
    predictions_dir : Path
        The event's directory; made when missing.
    name : str
        Of the staged directory, unique to the attempt.

    Returns
    -------
    Path
        The staged directory, for `publish`.

    Raises
    ------
    CollectError
        A file is too large, or the disk refuses.
    """
    staged = predictions_dir / f".{name}"
    try:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        for _, fold in _folds(source):
            (staged / fold.name).mkdir()
            for path in _outputs(fold):
                _copy(path, staged / fold.name / path.name, MAX_PREDICTIONS_BYTES)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise CollectError(f"the predictions cannot be copied: {error}") from error
    return staged


def publish(staged: Path, target: Path) -> None:
    """Put a staged directory in place of `target`, by renaming.

    Call it inside the transaction that holds the claim: no other dispatcher can then do the same.

    Raises
    ------
    CollectError
        The filesystem refuses; `target` is what it was.
    """
    old = target.with_name(f".{target.name}.old")
    try:
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        staged.rename(target)
    except OSError as error:
        raise CollectError(f"{target} cannot be published: {error}") from error
    shutil.rmtree(old, ignore_errors=True)


def publish_logs(source: Path, logs_dir: Path, submission: str) -> None:
    """Copy the logs of an attempt to ``logs_dir/<submission>/``, replacing older ones.

    Raises
    ------
    CollectError
        The filesystem refuses.
    """
    target = logs_dir / submission
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, mode in _LOGS.items():
            if _is_regular(source / submission / name):
                staged = target / f".{name}"
                _copy(source / submission / name, staged, MAX_PREDICTIONS_BYTES, mode)
                staged.replace(target / name)
    except OSError as error:
        raise CollectError(f"the log cannot be copied to {target}: {error}") from error


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


def _folds(directory: Path) -> list[tuple[int, Path]]:
    """List the real directories named ``fold_<i>``, by number."""
    if not _is_directory(directory):
        return []
    matches = ((_FOLD.fullmatch(path.name), path) for path in directory.iterdir())
    found = [(int(match[1]), path) for match, path in matches if match and _is_directory(path)]
    return sorted(found)


def _fold_facts(index: int, fold: Path) -> FoldFacts:
    return FoldFacts(
        fold=index,
        state=_text(fold / "state.txt"),
        error=_text(fold / "error.txt"),
        has_predictions=any(path.name.startswith("y_pred_train.") for path in _outputs(fold)),
    )


def _outputs(fold: Path) -> Iterator[Path]:
    """List the files of a fold that are worth keeping: predictions and times."""
    for path in sorted(fold.iterdir()):
        is_known = path.name in _TIMES or _PREDICTIONS.fullmatch(path.name)
        if is_known and _is_regular(path):
            yield path


def _text(path: Path) -> str | None:
    if not _is_regular(path):
        return None
    with _open(path) as file:
        return os.read(file, MAX_TEXT_BYTES).decode("utf-8", "replace").strip() or None


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


@contextmanager
def _open(path: Path) -> Iterator[int]:
    """Open a file for reading without following a link or waiting for a pipe's other end."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _copy(source: Path, target: Path, max_bytes: int, mode: int = 0o644) -> None:
    with _open(source) as reader:
        size = os.fstat(reader).st_size
        if size > max_bytes:
            raise CollectError(f"{source.name} is too large: {size} of {max_bytes} bytes")
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        try:
            while chunk := os.read(reader, 1 << 20):
                os.write(writer, chunk)
        finally:
            os.close(writer)
