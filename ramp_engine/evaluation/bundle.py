"""The layout of a bundle on disk.

::

    <hash>/public/manifest.json            what the fold step sees
                  kit/                     problem.py and what it imports
                  train/{X.*,y.*,files/}
                  test/{X.*,files/}
                  folds/fold_<i>.npz
                  masked/fold_<i>/y.*    instead of train/y.* where validation labels are hidden
    <hash>/labels/manifest.json            what the score step trusts, mode 0700
                  kit/  folds/
                  y_train.*  y_test.*

A value is a ``.npy`` file where numpy can hold it without objects, else a pickle, with its large
arrays (the columns of a frame, say) in a file of their own. Pickles are written by the trusted side
and read by either; what the untrusted side writes is never unpickled. Arrays are mapped, not read:
processes share them, whether they have an ancestor in common or not.

Where validation labels are hidden, the public part holds the labels once for each fold, masked by
`hidden_labels`: as many times their size on disk as there are folds.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import mapped
from .failure import KitError, kit_code
from .kit import Fold


def save(value: Any, folder: Path, name: str, problem: Any) -> None:
    """Write one value, if it is not None.

    Parameters
    ----------
    value : object
        Arrays, frames, sparse matrices, lists: whatever a kit makes of its data.
    folder : Path
        Where to; made when missing.
    name : str
        File name without extension.
    problem : module
        The problem, whose classes may occur in the value.

    Raises
    ------
    KitError
        The value cannot be pickled.
    """
    if value is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if type(value) is np.ndarray and not value.dtype.hasobject:
        np.save(folder / f"{name}.npy", value, allow_pickle=False)
        return
    parts = folder / f"{name}.parts"
    with (
        (folder / f"{name}.pkl").open("wb") as file,
        parts.open("wb") as arrays,
        importable(problem),
    ):
        _dump(value, file, arrays, name)
    if not parts.stat().st_size:
        parts.unlink()


def _dump(value: Any, file: Any, arrays: Any, name: str) -> None:
    import cloudpickle  # type: ignore[import-untyped]  # comes with ramp-workflow

    try:
        cloudpickle.dump(value, file, protocol=5, buffer_callback=mapped.writer(arrays))
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise KitError(
            f"{name} cannot be stored in the bundle: {error}",
            f"What problem.py returns as {name} must be picklable.",
        ) from error


def load(folder: Path, name: str, problem: Any) -> Any:
    """Give a value that `save` has written; None when there is none.

    Its arrays may be written to, which nobody else sees. The files must not be truncated meanwhile.
    """
    array = folder / f"{name}.npy"
    if array.exists():
        return mapped.load_array(array)
    pickled = folder / f"{name}.pkl"
    if not pickled.exists():
        return None
    reading = kit_code(f"reading {name} of the bundle", _OTHER_ENVIRONMENT)
    with pickled.open("rb") as file, importable(problem), reading:
        parts = mapped.parts(folder / f"{name}.parts")
        return pickle.load(file, buffers=parts)  # noqa: S301 (written by the trusted side)


_OTHER_ENVIRONMENT = (
    "The bundle was made in another environment; give both the same versions, or deploy the event "
    "anew."
)


@contextlib.contextmanager
def importable(problem: Any) -> Iterator[None]:
    """Let pickle find the classes of ``problem.py``, which is no module of ``sys.modules``."""
    before = sys.modules.get(problem.__name__)
    sys.modules[problem.__name__] = problem
    try:
        yield
    finally:
        del sys.modules[problem.__name__]
        if before is not None:
            sys.modules[problem.__name__] = before


def save_folds(folds: Sequence[Fold], folder: Path) -> None:
    """Write each fold to ``fold_<i>.npz`` with the arrays ``train`` and ``valid``."""
    folder.mkdir(parents=True)
    for number, (train, valid) in enumerate(folds):
        np.savez(folder / f"fold_{number}.npz", train=train, valid=valid)


def load_folds(folder: Path) -> list[Fold]:
    """Read the folds of a folder in their order.

    Raises
    ------
    KitError
        A file is missing or damaged.
    """
    n_folds = len(list(folder.glob("fold_*.npz")))
    return [_load_fold(folder / f"fold_{number}.npz") for number in range(n_folds)]


def _load_fold(path: Path) -> Fold:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["train"], arrays["valid"]
    except (OSError, ValueError, KeyError) as error:
        raise KitError(
            f"the stored fold {path} cannot be read: {error}", "Deploy the event anew."
        ) from error


def masked_folder(public: Path, number: int) -> Path:
    """Name the folder with the labels that one fold may see, where validation labels are hidden.

    A fold that is confined reads its own and no other: what is masked for it is shown to others.
    """
    return public / "masked" / f"fold_{number}"


def hides_labels(manifest: dict[str, Any]) -> bool:
    """Return whether validation labels are hidden; those of older bundles are not."""
    return bool(manifest.get("hides_validation_labels", False))


def copy_files(source: Path, names: Sequence[str], target: Path) -> None:
    """Copy files with their relative paths; links become files."""
    for name in names:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, path)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write what a bundle holds."""
    text = json.dumps(manifest, indent=1, allow_nan=False)
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a bundle holds.

    Raises
    ------
    KitError
        The folder is not one of a bundle.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise KitError(
            f"{folder} is not part of a bundle: {error}", "Deploy the event anew."
        ) from error
    return manifest
