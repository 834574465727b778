"""Folds that are done: taken from the worker while others run, kept for the next attempt.

They lie in ``done/fold_<i>/`` of the attempt's directory, with a record beside them of who made
them with what. An attempt that ends without a verdict leaves them in
``work_dir/kept/<submission>/``, by renaming, in the transaction that proves its claim; the next one
takes them from there in the same way. So each directory has one owner at any moment, and whoever
lost its claim meets nobody there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ramp_engine.attempt import AttemptDirectory, read_folds
from ramp_engine.evaluation.untrusted_files import read_text
from ramp_engine.fold_outputs import MAX_TOTAL_BYTES, output_sizes
from ramp_engine.fold_process import remove_tree

__all__ = ["DoneFolds", "kept_directory", "kept_submissions", "marks", "rescue"]

logger = logging.getLogger(__name__)

_RECORD = "done.json"
_SUBMISSION = re.compile(r"submission_(\d{9,})")
#: A larger record is not read, in bytes.
_MAX_RECORD_BYTES = 16 << 20


def kept_directory(work_dir: Path, submission: str) -> Path:
    """Name where the folds of a submission wait for its next attempt; it need not be there."""
    return work_dir / "kept" / submission


def kept_submissions(work_dir: Path) -> dict[Path, int]:
    """Find the directories of submissions of which folds are kept, and their numbers."""
    parent = work_dir / "kept"
    paths = list(parent.iterdir()) if parent.is_dir() else []
    matches = ((path, _SUBMISSION.fullmatch(path.name)) for path in paths)
    return {path: int(match[1]) for path, match in matches if match}


def marks(**parts: object) -> dict[str, str]:
    """Give a hash of each part that the outputs of folds depend on; no part can be read from it."""
    texts = {name: json.dumps(part, sort_keys=True, default=str) for name, part in parts.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


class DoneFolds:
    """The folds of an attempt that are done.

    Parameters
    ----------
    directory : AttemptDirectory
    number : int
        Of the attempt.
    n_folds : int
        How many folds the event has.
    made_with : callable
        Gives what `marks` does; called at the first need.

    Attributes
    ----------
    origins : dict
        From the fold to the attempt that has done it.
    changed : tuple of str
        What had changed since the folds were made that `adopt` threw away.
    """

    def __init__(
        self,
        directory: AttemptDirectory,
        number: int,
        n_folds: int,
        made_with: Callable[[], Mapping[str, str]],
    ) -> None:
        self.origins: dict[int, int] = {}
        self.changed: tuple[str, ...] = ()
        self._directory = directory
        self._number = number
        self._n_folds = n_folds
        self._made_with = cache(made_with)
        self._sizes: dict[int, dict[str, int]] = {}

    @property
    def missing(self) -> list[int]:
        """The folds that are not done."""
        return [fold for fold in range(self._n_folds) if fold not in self.origins]

    def take(self, numbers: Iterable[int]) -> bool:
        """Take folds from where the worker has put them; those that are not complete stay there.

        Returns
        -------
        bool
            Whether there was a new one.

        Raises
        ------
        OSError
            The disk refuses.
        """
        wanted = set(numbers) - self.origins.keys()
        if not wanted:
            return False
        found = read_folds(self._directory.fold_predictions_dir)
        n_bytes = sum(sum(sizes.values()) for sizes in self._sizes.values())
        for fold in found:
            is_done = fold.state == "tested" and fold.has_predictions
            if not is_done or fold.fold not in wanted or fold.fold >= self._n_folds:
                continue
            sizes = output_sizes(self._directory.fold_predictions_dir / f"fold_{fold.fold}")
            n_bytes += sum(sizes.values())
            if n_bytes > MAX_TOTAL_BYTES:
                break
            self._move_in(fold.fold, sizes)
        self._write_record()
        return not wanted.isdisjoint(self.origins)

    def _move_in(self, fold: int, sizes: dict[str, int]) -> None:
        done = self._directory.done_dir
        done.mkdir(exist_ok=True)
        remove_tree(done / f"fold_{fold}")
        (self._directory.fold_predictions_dir / f"fold_{fold}").rename(done / f"fold_{fold}")
        self.origins[fold], self._sizes[fold] = self._number, sizes

    def _write_record(self) -> None:
        if not self.origins:
            return
        folds = {
            str(fold): {"attempt": attempt, "files": self._sizes[fold]}
            for fold, attempt in self.origins.items()
        }
        staged = self._directory.done_dir / f".{_RECORD}"
        staged.write_text(json.dumps({"made_with": self._made_with(), "folds": folds}))
        staged.replace(self._directory.done_dir / _RECORD)

    def give_back(self) -> None:
        """Put all folds that are done where those of the worker are, for the end of the attempt.

        Raises
        ------
        OSError
            The disk refuses.
        """
        target = self._directory.fold_predictions_dir
        if self.origins:
            target.mkdir(exist_ok=True)
        for fold in self.origins:
            remove_tree(target / f"fold_{fold}")
            (self._directory.done_dir / f"fold_{fold}").rename(target / f"fold_{fold}")

    def leave(self, *, with_collected: bool) -> bool:
        """Get ready to be kept; tell whether there is anything.

        Parameters
        ----------
        with_collected : bool
            Whether what the worker has collected at its end is complete, and counts as well.
        """
        try:
            if with_collected:
                self.take(self.missing)
            _gather(self._directory, self.origins)
        except OSError as error:
            logger.warning("folds that are done are not kept: %s", error)
            return False
        return bool(self.origins)

    def adopt(self, source: Path, after: int = 0) -> None:
        """Take folds that another attempt has done, if they may stand beside those of this one.

        `source` is gone afterwards, whatever was in it; when some are taken already it stays as it
        is, and what was taken stays too.

        Parameters
        ----------
        source : Path
            What another attempt has left; it need not be there.
        after : int
            Folds of this attempt and of those before it are not taken.
        """
        done = self._directory.done_dir
        if self.origins:
            return
        try:
            remove_tree(done)
            source.rename(done)
        except OSError:
            return
        record = _read_record(done)
        made_with = record.get("made_with", {})
        self.changed = tuple(
            name for name, mark in self._made_with().items() if made_with.get(name) != mark
        )
        if not self.changed:
            self._adopt_folds(record.get("folds", {}), after)
        if not self.origins:
            remove_tree(done)

    def adopt_from(self, owner: AttemptDirectory) -> None:
        """Take the folds of an earlier owner of the attempt, also when it had put all together."""
        with contextlib.suppress(OSError):
            _gather(owner, [int(fold) for fold in _read_record(owner.done_dir).get("folds", {})])
        self.adopt(owner.done_dir)

    def _adopt_folds(self, folds: Mapping[str, Any], after: int) -> None:
        for name, fold in folds.items():
            number, path = int(name), self._directory.done_dir / f"fold_{name}"
            is_whole = output_sizes(path) == fold["files"]  # not so after a power cut
            if number < self._n_folds and fold["attempt"] > after and is_whole:
                self.origins[number], self._sizes[number] = fold["attempt"], fold["files"]
            else:
                remove_tree(path)


def _gather(directory: AttemptDirectory, folds: Collection[int]) -> None:
    """Put folds back that wait for the end of the attempt, which does not come."""
    for fold in folds:
        path = directory.fold_predictions_dir / f"fold_{fold}"
        if not (directory.done_dir / path.name).exists() and path.is_dir():
            path.rename(directory.done_dir / path.name)


def rescue(directory: AttemptDirectory, target: Path) -> bool:
    """Keep the folds that an attempt has done whose dispatcher was killed.

    Parameters
    ----------
    directory : AttemptDirectory
        The attempt's.
    target : Path
        From `kept_directory`; what is there already stays.

    Returns
    -------
    bool
        Whether there were any.
    """
    folds = _read_record(directory.done_dir).get("folds", {})
    if not folds or target.exists():
        return False
    try:
        _gather(directory, [int(fold) for fold in folds])
        target.parent.mkdir(exist_ok=True)
        directory.done_dir.rename(target)
    except OSError as error:
        logger.warning("folds that are done are not kept: %s", error)
        return False
    return True


def _read_record(done: Path) -> dict[str, Any]:
    """Read the record of folds that are done; without one there are none."""
    try:
        record = json.loads(read_text(done, _RECORD, _MAX_RECORD_BYTES))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
