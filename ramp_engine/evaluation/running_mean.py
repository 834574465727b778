"""Blends of predictions: as the kit combines them, or by a sum that is carried along.

The kit's ``Predictions.combine`` takes everything that is combined, each time. That of
ramp-workflow is a mean of arrays, of classes after clipping and normalising; it adds one array
after the other, so that a sum that is carried along is equal to its sum in every bit. `terms_of`
tells where that is so; with `is_same` it is made sure of afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np
from rampwf.prediction_types.base import BasePrediction
from rampwf.prediction_types.multiclass import make_multiclass

#: The least and the largest probability that ramp-workflow combines.
_EPSILON = 10**-15
#: Single numbers are summed up in another order.
_MIN_SIZE = 2

Terms = Callable[[Any], Any]


class KitBlend:
    """Combine with the kit's own ``combine``.

    Parameters
    ----------
    predictions_type : type
        The kit's ``Predictions``.
    members : sequence of Predictions
        Those of all submissions.
    """

    def __init__(self, predictions_type: Any, members: Sequence[Any]) -> None:
        self._type = predictions_type
        self._members = members
        self._chosen: list[Any] = []

    def add(self, index: int) -> None:
        """Add a submission for good."""
        self._chosen.append(self._members[index])

    def combined(self) -> Any:
        """Return the combined predictions."""
        return self._type.combine(list(self._chosen))

    def combined_with(self, index: int) -> Any:
        """Return the combined predictions if a submission were added."""
        return self._type.combine([*self._chosen, self._members[index]])


class MeanBlend:
    """Combine by a sum that is carried along.

    Parameters
    ----------
    predictions_type : type
        The kit's ``Predictions``.
    members : sequence of Predictions
        Those of all submissions; their arrays have the same shape and type.
    terms : callable
        Makes of an array what is added.
    is_holding : bool
        Whether to hold what is added of each, so that it is made once.
    """

    def __init__(
        self, predictions_type: Any, members: Sequence[Any], terms: Terms, is_holding: bool
    ) -> None:
        self._type = predictions_type
        self._members = members
        self._terms = terms
        self._is_holding = is_holding
        self._held: dict[int, Any] = {}
        self._total: Any = None
        self._n = 0

    def add(self, index: int) -> None:
        """Add a submission for good."""
        self._total = self._with(index)
        self._n += 1

    def combined(self) -> Any:
        """Return the combined predictions."""
        return self._type(y_pred=self._total / self._n)

    def combined_with(self, index: int) -> Any:
        """Return the combined predictions if a submission were added."""
        return self._type(y_pred=self._with(index) / (self._n + 1))

    def _with(self, index: int) -> Any:
        terms = self._terms_of(index)
        return terms if self._total is None else self._total + terms

    def _terms_of(self, index: int) -> Any:
        if index in self._held:
            return self._held[index]
        terms = self._terms(self._members[index].y_pred)
        if self._is_holding:
            self._held[index] = terms
        return terms


def terms_of(predictions_type: Any, dtypes: set[Any], size: int) -> Optional[Terms]:
    """Tell what the kit takes the mean of; None where it is not known to take one.

    Parameters
    ----------
    predictions_type : type
        The kit's ``Predictions``.
    dtypes : set of dtype
        Those of all arrays: a mean of several is taken in the widest.
    size : int
        Of each array.
    """
    if len(dtypes) != 1 or next(iter(dtypes)) not in (np.float64, np.float32) or size < _MIN_SIZE:
        return None
    combine = getattr(predictions_type.combine, "__func__", None)
    if hasattr(predictions_type, "Predictions_list"):
        return None
    if combine is BasePrediction.combine.__func__:
        return np.ascontiguousarray
    if combine is make_multiclass([]).combine.__func__:
        return _probabilities
    return None


def _probabilities(y_pred: Any) -> Any:
    clipped = np.clip(np.array([y_pred]), _EPSILON, 1 - _EPSILON)
    return (clipped / np.sum(clipped, axis=2, keepdims=True))[0]


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two predictions are equal in every bit."""
    arrays = [np.ascontiguousarray(each.y_pred) for each in (one, other)]
    shapes = {(array.dtype, array.shape) for array in arrays}
    return len(shapes) == 1 and arrays[0].tobytes() == arrays[1].tobytes()
