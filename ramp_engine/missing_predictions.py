"""Whether a run has left predictions of every fold, and each of them whole."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["missing_predictions"]


def missing_predictions(directory: Path, folds: Iterable[int]) -> str:
    """Tell which predictions are missing or cut off; a worker says this in place of a success.

    Parameters
    ----------
    directory : Path
        Holds ``fold_<i>/`` with ``y_pred_train`` and ``y_pred_test``, each an ``.npz`` or a
        ``.json``; it may be missing.
    folds : iterable of int
        Those that were to be run.

    Returns
    -------
    str
        For people; empty when all are there. What the predictions say is the score step's affair.
    """
    for fold in folds:
        for step in ("train", "test"):
            found = sorted((directory / f"fold_{fold}").glob(f"y_pred_{step}.*"))
            if not found:
                return f"the run left no predictions of fold {fold} (y_pred_{step} is missing)"
            if not all(map(_is_whole, found)):
                return f"predictions of fold {fold} are cut off ({found[0].name})"
    return ""


def _is_whole(path: Path) -> bool:
    """Tell whether a file has its end, which is written last of all."""
    if path.suffix == ".npz":
        return zipfile.is_zipfile(path)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        return file.read().rstrip().endswith((b"]", b"}"))
