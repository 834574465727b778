"""What is kept on disk of finished submissions, and how it goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ramp_database import predictions, submissions
from ramp_database.session import Database
from ramp_engine.fold_process import remove_tree

#: What `st_blocks` counts, in bytes, on every system.
_BLOCK_BYTES = 512


@dataclass(frozen=True)
class Stored:
    """The stored predictions of a finished submission."""

    submission_id: int
    attempt: int  #: the newest when they were found
    directory: Path
    n_bytes: int  #: that they take on the disk


def find_stored(finished: Iterable[tuple[int, int]], predictions_dir: Path) -> list[Stored]:
    """Find the stored predictions of finished submissions.

    Parameters
    ----------
    finished : iterable of (int, int)
        Number and newest attempt, as from `predictions.select_finished`.
    predictions_dir : Path
        The event's directory of predictions; it may be missing.
    """
    there = {path.name for path in predictions_dir.iterdir()} if predictions_dir.is_dir() else set()
    named = [(id_, number, submissions.directory_name(id_)) for id_, number in finished]
    return [
        Stored(id_, number, predictions_dir / name, _n_bytes(predictions_dir / name))
        for id_, number, name in named
        if name in there
    ]


def _n_bytes(directory: Path) -> int:
    """Count the bytes on disk below a directory; what goes meanwhile counts nothing."""
    total = 0
    for path in [directory, *directory.rglob("*")]:
        with contextlib.suppress(OSError):
            total += _BLOCK_BYTES * path.lstat().st_blocks
    return total


def aside(stored: Stored) -> Path:
    """Name the place of predictions that are about to go: `attempt.left_on_disk` knows it."""
    return stored.directory.with_name(f".{stored.directory.name}-{stored.attempt}-0.old")


def delete(database: Database, stored: Stored) -> bool:
    """Delete the stored predictions of a submission, and record that; scores are kept.

    Parameters
    ----------
    database : Database
    stored : Stored

    Returns
    -------
    bool
        False when they are left alone: it is evaluated anew since they were found, or they are
        gone already.

    Raises
    ------
    NotFoundError
        The submission is gone.
    OSError
        The filesystem refuses; they are where they were.

    Notes
    -----
    They are moved aside within the transaction, in which no dispatcher can take the submission, and
    removed after it. What stays of them when this process is killed in between has a name that the
    next dispatcher to start knows and removes.
    """
    directory = stored.directory
    moved = aside(stored)
    try:
        with database.session() as session:
            if not predictions.record_deletion(session, stored.submission_id, stored.attempt):
                return False
            remove_tree(moved)
            directory.rename(moved)
    except FileNotFoundError:
        return False
    except BaseException:
        with contextlib.suppress(OSError):
            moved.rename(directory)
        raise
    remove_tree(moved)
    return True
