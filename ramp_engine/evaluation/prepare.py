"""The first step, on the trusted side: make the bundle of an event.

Runs the organiser's ``problem.py`` on the real data, and nobody else's code.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

from . import bundle, data_files, fingerprint, hidden_labels, preload
from .failure import KitError, kit_code
from .kit import (
    Dataset,
    Fold,
    check_folds,
    check_problem,
    describe_scores,
    draw_folds,
    import_problem,
    read_data,
    required_files,
)
from .scratch import MAKING, scratch_directory


def prepare(
    kit: Path,
    data: Path,
    bundles_dir: Path,
    data_label: Optional[str] = None,
    stored_folds: Optional[Path] = None,
    hides_labels: bool = False,
) -> dict[str, Any]:
    """Make the bundle of an event, or find it when it is there.

    Parameters
    ----------
    kit : Path
        The kit's folder, with ``problem.py``.
    data : Path
        The folder that holds ``data/``.
    bundles_dir : Path
        Where bundles are kept; made when missing.
    data_label : str, optional
        Which data, for kits that have several.
    stored_folds : Path, optional
        A folder with the ``fold_<i>.npz`` of an earlier bundle, to be used instead of drawing.
    hides_labels : bool
        Whether no fold sees the labels of its validation part.

    Returns
    -------
    dict
        The bundle's name, the hashes it is made of, and what the engine wants to know of the kit.

    Raises
    ------
    KitError
        The kit or the data are at fault.

    Notes
    -----
    The bundle appears by a rename; of several processes that make the same one, the first wins.
    """
    problem = import_problem(kit)
    check_problem(problem, kit)
    dataset = read_data(problem, data, data_label)
    folds = _folds(problem, dataset, stored_folds)
    lock = fingerprint.environment_lock()
    kit_names = fingerprint.kit_files(kit)
    hashes = {
        "kit": fingerprint.files_hash(kit, kit_names),
        "data": fingerprint.files_hash(data, fingerprint.data_files(data, kit)),
        "folds": fingerprint.folds_hash(folds),
        "environment": fingerprint.text_hash(lock),
    }
    result = _describe(problem, kit, dataset, folds)
    result.update(bundle=fingerprint.bundle_hash(hashes, data_label, hides_labels), hashes=hashes)
    manifest = {
        "format": fingerprint.FORMAT,
        "data_label": data_label,
        "has_test": dataset.X_test is not None,
        "has_test_labels": dataset.y_test is not None,
        "hides_validation_labels": hides_labels,
        "environment": lock,
        "imports": preload.find_imports(kit / "submissions"),
        **result,
    }
    if not (bundles_dir / result["bundle"]).exists():
        _Writer(problem, kit, kit_names, data, dataset, folds, manifest).write(bundles_dir)
    return result


def _folds(problem: Any, dataset: Dataset, stored: Optional[Path]) -> list[Fold]:
    if stored is None:
        return draw_folds(problem, dataset)
    return check_folds(bundle.load_folds(stored), len(dataset.y_train))


def _describe(problem: Any, kit: Path, dataset: Dataset, folds: list[Fold]) -> dict[str, Any]:
    with kit_code("reading score_types and workflow of problem.py", "Mend problem.py."):
        return {
            "problem_title": str(getattr(problem, "problem_title", kit.name)),
            "score_types": describe_scores(problem),
            "required_files": required_files(problem, kit),
            "n_train": len(dataset.y_train),
            "n_test": None if dataset.y_test is None else len(dataset.y_test),
            "n_folds": len(folds),
            "folds": [
                {"n_train": _count(train), "n_valid": _count(valid)} for train, valid in folds
            ],
        }


def _count(indices: Any) -> int:
    return int(indices.sum() if indices.dtype == bool else len(indices))


class _Writer:
    """Writes one bundle to a temporary folder and gives it its name when it is complete."""

    def __init__(
        self,
        problem: Any,
        kit: Path,
        kit_names: list[str],
        data: Path,
        dataset: Dataset,
        folds: list[Fold],
        manifest: dict[str, Any],
    ) -> None:
        self.problem = problem
        self.kit = kit
        self.kit_names = kit_names
        self.data = data
        self.dataset = dataset
        self.folds = folds
        self.manifest = manifest

    def write(self, bundles_dir: Path) -> None:
        os.umask(0o022)  # the public part is read by another user where folds are confined
        try:
            with scratch_directory(bundles_dir, MAKING) as scratch:
                temporary = scratch / "bundle"
                temporary.mkdir()
                self._write_public(temporary / "public")
                self._write_labels(temporary / "labels")
                _check_copy(temporary / "public" / "kit")
                _rename(temporary, bundles_dir / str(self.manifest["bundle"]))
        except OSError as error:
            raise KitError(f"the bundle cannot be written to {bundles_dir}: {error}") from error

    def _write_public(self, folder: Path) -> None:
        self._write_common(folder)
        self._write_values(folder / "train", X=self.dataset.X_train)
        if bundle.hides_labels(self.manifest):
            self._write_masked(folder)
        else:
            self._write_values(folder / "train", y=self.dataset.y_train)
        if self.dataset.X_test is not None:
            self._write_values(folder / "test", X=self.dataset.X_test)

    def _write_masked(self, folder: Path) -> None:
        _, files = data_files.relocate(self.dataset.y_train, self.data)
        if files:
            raise KitError(
                f"hide_validation_labels: y_train refers to files ({files[0]} ...), which cannot "
                "be hidden",
                "Have get_train_data read them into y; or take hide_validation_labels out of the "
                "section evaluation.",
            )
        for number, (train, _) in enumerate(self.folds):
            hidden = hidden_labels.hide(self.dataset.y_train, train)
            bundle.save(hidden, bundle.masked_folder(folder, number), "y", self.problem)

    def _write_labels(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._write_common(folder)
        bundle.save(self.dataset.y_train, folder, "y_train", self.problem)
        bundle.save(self.dataset.y_test, folder, "y_test", self.problem)

    def _write_common(self, folder: Path) -> None:
        bundle.copy_files(self.kit, self.kit_names, folder / "kit")
        bundle.save_folds(self.folds, folder / "folds")
        bundle.write_manifest(folder, self.manifest)

    def _write_values(self, folder: Path, **values: Any) -> None:
        for name, value in values.items():
            relocated, files = data_files.relocate(value, self.data)
            bundle.save(relocated, folder, name, self.problem)
            bundle.copy_files(self.data, files, folder / "files")


def _check_copy(kit: Path) -> None:
    try:
        import_problem(kit)
    except KitError as error:
        raise KitError(
            f"problem.py cannot be imported from a copy of the kit: {error.message}",
            "Where submissions run, the kit is there without its data/ and its other submissions. "
            "Read data in get_train_data and get_test_data, not while problem.py is imported.",
            error.trace,
        ) from error


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was faster
            raise
