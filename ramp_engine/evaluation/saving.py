"""What of a submission's predictions is kept once they are scored, and how. Trusted side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rampwf.utils.io import save_y_pred

from .failure import kit_code
from .kept import note_test_only
from .truth import Truth


@dataclass(frozen=True)
class Saving:
    """What is kept of scored predictions."""

    is_test_only: bool = False  #: those of the test data; those of the training data go
    is_compressed: bool = True  #: a kit's own ``save_y_pred`` decides for itself

    def save(self, truth: Truth, y_pred: Any, suffix: str, folder: Path) -> None:
        """Write predictions of a fold, as ``ramp-test --save-output`` does, if they are kept.

        Parameters
        ----------
        truth : Truth
        y_pred : ndarray
        suffix : str
            ``train`` or ``test``.
        folder : Path
            Of the fold, to write to.

        Raises
        ------
        KitError
            The kit's ``save_y_pred`` is at fault.
        """
        if suffix == "test" or not self.is_test_only:
            with kit_code("saving predictions (save_y_pred)", "Mend save_y_pred in problem.py."):
                self._write(truth, y_pred, suffix, folder)

    def _write(self, truth: Truth, y_pred: Any, suffix: str, folder: Path) -> None:
        if self.is_compressed or hasattr(truth.problem, "save_y_pred"):
            places = {"data_path": str(truth.data), "output_path": str(folder)}
            save_y_pred(truth.problem, y_pred, suffix=suffix, **places)
        else:
            np.savez(folder / f"y_pred_{suffix}.npz", y_pred=y_pred)

    def note(self, output: Path) -> None:
        """Leave word of what is not kept, for those who look for it."""
        if self.is_test_only:
            note_test_only(output)
