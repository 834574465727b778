"""A RAMP kit: its ``problem.py``, the data that it reads, the folds that it draws.

``problem.py`` is the organiser's. Both sides import it, but only the trusted side reads data
with it.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from .failure import KitError, kit_code
from .preload import uncollected

_NEEDED = ("Predictions", "workflow", "score_types", "get_train_data", "get_test_data", "get_cv")

Fold = tuple[Any, Any]


@dataclass(frozen=True)
class Dataset:
    """What ``problem.get_train_data`` and ``problem.get_test_data`` return."""

    X_train: Any  #: training and validation instances
    y_train: Any  #: their labels, shape (n_train, ...)
    X_test: Any  #: test instances, or None
    y_test: Any  #: their labels, or None


def import_problem(kit: Path) -> Any:
    """Import ``problem.py`` of a kit, as ramp-test does.

    Parameters
    ----------
    kit : Path
        The kit's folder; its ``external_imports`` become importable.

    Returns
    -------
    module
        The problem.

    Raises
    ------
    KitError
        There is none, or it cannot be imported.
    """
    if not (kit / "problem.py").is_file():
        raise KitError(f"{kit} has no problem.py", "kit_dir must name the folder of a RAMP kit.")
    with uncollected():
        from rampwf.utils.testing import assert_read_problem

    doing = f"importing {kit / 'problem.py'}"
    with working_directory(kit), kit_code(doing, _IMPORT_HINT), uncollected():
        return assert_read_problem(str(kit))


_IMPORT_HINT = (
    "Mend problem.py; a package that it needs belongs into the kit's requirements.txt (or "
    "environment.yml). Nothing of the data can be read while it is imported."
)


def check_problem(problem: Any, kit: Path) -> None:
    """Check that a problem defines what an evaluation needs.

    Raises
    ------
    KitError
        Something is missing.
    """
    missing = [name for name in _NEEDED if not hasattr(problem, name)]
    if missing:
        raise KitError(
            f"{kit / 'problem.py'} does not define {', '.join(missing)}",
            "See the kits that come with ramp-workflow 0.7 for an example.",
        )
    if not list(problem.score_types):
        raise KitError(f"{kit / 'problem.py'}: score_types is empty", "Name at least one score.")
    if not (kit / "submissions" / "starting_kit").is_dir():
        raise KitError(
            f"{kit} has no submissions/starting_kit",
            "A kit comes with a submission to start from; its files are what others must submit.",
        )


def read_data(problem: Any, data: Path, data_label: Optional[str]) -> Dataset:
    """Read the train and test data with the kit's own functions.

    They are called in the data folder with ``path="."``, so that the paths of files in X are
    relative to it.

    Parameters
    ----------
    problem : module
        The problem.
    data : Path
        The folder that holds ``data/``.
    data_label : str or None
        Passed on when it is given.

    Raises
    ------
    KitError
        The data are missing, or the kit cannot read them.
    """
    if not data.is_dir():
        raise KitError(f"the data folder {data} does not exist", _DATA_HINT)
    label = {} if data_label is None else {"data_label": data_label}
    with working_directory(data):
        with kit_code(f"reading the training data in {data} (get_train_data)", _DATA_HINT):
            X_train, y_train = problem.get_train_data(path=".", **label)
        with kit_code(f"reading the test data in {data} (get_test_data)", _DATA_HINT):
            X_test, y_test = problem.get_test_data(path=".", **label)
    with kit_code("making Predictions of y_train", "Mend Predictions or get_train_data."):
        problem.Predictions(y_true=y_train)
    return Dataset(X_train, y_train, X_test, y_test)


_DATA_HINT = (
    "data_dir must name the folder that holds data/; make the data with its prepare_data.py, "
    "and check what problem.py reads."
)


def draw_folds(problem: Any, data: Dataset) -> list[Fold]:
    """Draw the folds with the kit's ``get_cv``.

    Returns
    -------
    list of (train, valid)
        Arrays of indices into the training data.

    Raises
    ------
    KitError
        ``get_cv`` fails, or yields something else.
    """
    hint = "get_cv(X, y) must yield pairs of index arrays (train, valid)."
    with kit_code("drawing the folds (get_cv)", hint):
        folds = list(problem.get_cv(data.X_train, data.y_train))
        return check_folds(folds, len(data.y_train))


def check_folds(folds: Sequence[Any], n_train: int) -> list[Fold]:
    """Return folds as arrays of indices.

    Parameters
    ----------
    folds : sequence of pairs
        Index arrays, lists, masks or slices.
    n_train : int
        Number of training instances.

    Raises
    ------
    KitError
        There is no fold, or one does not fit the data.
    """
    if not folds:
        raise KitError("there are no folds", "get_cv must yield at least one pair of indices.")
    checked = []
    for number, fold in enumerate(folds):
        if len(fold) != 2:
            raise KitError(f"fold {number} is not a pair (train, valid)", "Mend get_cv.")
        checked.append((_indices(fold[0], n_train, number), _indices(fold[1], n_train, number)))
    return checked


def _indices(values: Any, n_train: int, number: int) -> Any:
    if isinstance(values, slice):
        return np.arange(n_train)[values]
    indices = np.asarray(values)
    if indices.size == 0:
        indices = indices.astype(np.int64)
    if indices.ndim != 1 or indices.dtype.kind not in "iub":
        raise KitError(f"fold {number} does not consist of indices", "Mend get_cv.")
    fits = len(indices) == n_train if indices.dtype.kind == "b" else _in_range(indices, n_train)
    if not fits:
        raise KitError(
            f"fold {number} does not fit the {n_train} training instances",
            "The folds were drawn from other data, or get_cv is wrong.",
        )
    return indices


def _in_range(indices: Any, n_train: int) -> bool:
    return not indices.size or bool(indices.min() >= -n_train and indices.max() < n_train)


def required_files(problem: Any, kit: Path) -> list[str]:
    """Return the files that a submission must have."""
    elements = getattr(problem.workflow, "element_names", None)
    if elements:
        return [name if Path(name).suffix else f"{name}.py" for name in elements]
    starting_kit = kit / "submissions" / "starting_kit"
    return sorted(
        path.name
        for path in starting_kit.iterdir()
        if path.is_file() and not path.name.startswith(".")
    )


def describe_scores(problem: Any) -> list[dict[str, Any]]:
    """Return the score types as data, the official one first; an infinite bound is None."""
    return [
        {
            "name": str(score.name),
            "precision": int(getattr(score, "precision", 2)),
            "is_lower_the_better": bool(score.is_lower_the_better),
            "minimum": _finite(getattr(score, "minimum", None)),
            "maximum": _finite(getattr(score, "maximum", None)),
        }
        for score in problem.score_types
    ]


def _finite(value: Any) -> Optional[float]:
    return float(value) if value is not None and math.isfinite(value) else None


@contextlib.contextmanager
def working_directory(folder: Path) -> Iterator[None]:
    """Work in a folder for a while."""
    before = Path.cwd()
    with kit_code(f"entering {folder}", "The folder must exist and be readable."):
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
