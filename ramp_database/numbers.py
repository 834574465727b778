"""Numbers of scores: what is stored, what stands for none, and their spread over folds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import SupportsFloat


def finite(value: SupportsFloat | None) -> float | None:
    """Give a number as a float; None for None, NaN and the infinite."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def mean_and_std(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Give mean and sample standard deviation of the scores of the folds.

    Parameters
    ----------
    values : sequence of float or None

    Returns
    -------
    mean, std : float or None
        With the divisor n - 1, and 0 for one value; None when a value is None or there is none.
    """
    numbers = [value for value in values if value is not None]
    if not numbers or len(numbers) < len(values):
        return None, None
    try:
        mean = statistics.fmean(numbers)
        return finite(mean), finite(statistics.stdev(numbers)) if len(numbers) > 1 else 0.0
    except OverflowError:
        return None, None
