"""Checked validation predictions of submissions, kept so that each is read once.

::

    <folder>/arrays/<key>/fold_<i>.npy    the rows of the fold's validation part

The folder is the trusted side's own. A key names a submission and its attempt: what is kept under
it never changes.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .failure import PredictionsError
from .scratch import MAKING, scratch_directory, sweep
from .truth import Truth, read_predictions

#: So much of a fold is held in memory [bytes]; of what is larger, one array is read at a time.
MAX_HELD_BYTES = 512 << 20


class ValidationCache:
    """Keep the validation predictions of the submissions of an event.

    Parameters
    ----------
    folder : Path
        Where to; made when missing.
    truth : Truth
        Labels and folds; the same whenever the folder is used.
    """

    def __init__(self, folder: Path, truth: Truth) -> None:
        #: The folder.
        self.folder = folder
        self._arrays = folder / "arrays"
        self._truth = truth
        self._arrays.mkdir(parents=True, exist_ok=True)
        sweep(folder, MAKING)

    def add(self, key: str, predictions: Path) -> bool:
        """Read the predictions of a submission, unless they are kept already.

        Returns
        -------
        bool
            Whether they were read.

        Raises
        ------
        PredictionsError
            They are missing, or cannot be taken.
        """
        if (self._arrays / key).is_dir():
            return False
        with scratch_directory(self.folder, MAKING) as directory:
            made = directory / key
            made.mkdir()
            for number, (_, valid_is) in enumerate(self._truth.folds):
                array = _read(self._truth, predictions / f"fold_{number}", number)
                np.save(made / f"fold_{number}.npy", array[valid_is], allow_pickle=False)
            made.rename(self._arrays / key)
        return True

    def keep_only(self, keys: Collection[str]) -> None:
        """Remove what is kept of others."""
        for path in self._arrays.iterdir():
            if path.name not in keys:
                shutil.rmtree(path)

    def members(self, keys: Sequence[str], number: int) -> Members:
        """Give the predictions of a fold."""
        paths = [self._arrays / key / f"fold_{number}.npy" for key in keys]
        return Members(paths, self._truth.problem.Predictions)


class Members(Sequence[Any]):
    """The predictions of submissions for the validation part of a fold.

    Parameters
    ----------
    paths : sequence of Path
        The files of their arrays.
    predictions_type : type
        The kit's ``Predictions``.

    Notes
    -----
    Held in memory up to `MAX_HELD_BYTES`; beyond that each is mapped from its file when it is
    asked for, and no file stays open.
    """

    def __init__(self, paths: Sequence[Path], predictions_type: Any) -> None:
        self._paths = paths
        self._type = predictions_type
        #: Whether they are held in memory.
        self.is_held = sum(path.stat().st_size for path in paths) <= MAX_HELD_BYTES
        self._held: dict[int, Any] = {}
        #: Types and sizes of the arrays.
        self.dtypes, self.sizes = _kinds(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        if index in self._held:
            return self._held[index]
        array = np.load(self._paths[index], mmap_mode="r", allow_pickle=False)
        made = self._type(y_pred=array, fold_is=slice(None))
        if self.is_held:
            self._held[index] = made
        return made


def _kinds(paths: Sequence[Path]) -> tuple[set[Any], set[int]]:
    dtypes, sizes = set(), set()
    for path in paths:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        dtypes.add(array.dtype)
        sizes.add(array.size)
    return dtypes, sizes


def _read(truth: Truth, folder: Path, number: int) -> Any:
    array = read_predictions(truth, folder, number, "train")
    if array.dtype.hasobject:
        raise PredictionsError("validating_error", "they are no array of numbers", number)
    return array
