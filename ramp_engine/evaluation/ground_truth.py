"""Labels as `Predictions` of the kit, which is what scores are computed from. Trusted side."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from rampwf.prediction_types import make_multiclass, make_regression

from .failure import kit_code
from .truth import Truth

#: Those that make of each label a row, whatever the others are.
_ROW_BY_ROW = (make_multiclass([]).__init__, make_regression().__init__)


class GroundTruth:
    """Labels of any rows, made of what is made once.

    Parameters
    ----------
    truth : Truth
        Has the labels.

    Notes
    -----
    ramp-workflow makes one of each label in Python, some two seconds for a million. Where each row
    depends on its label alone that is done once, and rows are taken from there.
    """

    def __init__(self, truth: Truth) -> None:
        self._make = truth.problem.Predictions
        self._labels = {"train": truth.y_train, "test": truth.y_test}
        self._whole: dict[str, Any] = {}

    def is_made_once(self, part: str) -> bool:
        """Tell whether rows of the ``train`` or ``test`` labels are taken from what is made."""
        is_array = type(self._labels[part]) is np.ndarray
        return is_array and self._make.__init__ in _ROW_BY_ROW

    def rows(self, part: str, rows: Any = None) -> Any:
        """Give labels as a `Predictions` that belongs to the caller.

        Parameters
        ----------
        part : str
            ``train`` or ``test``.
        rows : ndarray, optional
            Indices or a mask; all of them by default.

        Raises
        ------
        KitError
            The kit cannot make any of its own labels.
        """
        with kit_code("making Predictions of the labels", "Mend Predictions in problem.py."):
            if not self.is_made_once(part):
                chosen = {} if rows is None else {"fold_is": rows}
                return self._make(y_true=self._labels[part], **chosen)
            if part not in self._whole:
                self._whole[part] = self._make(y_true=self._labels[part])
            made = copy.copy(self._whole[part])
            made.y_pred = made.y_pred.copy() if rows is None else made.y_pred[rows]
            return made
