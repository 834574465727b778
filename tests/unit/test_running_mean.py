"""A mean that is carried along is the kit's in every bit, and is taken where it is one only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rampwf.prediction_types import make_combined, make_detection, make_multiclass, make_regression

from ramp_engine.evaluation.running_mean import KitBlend, MeanBlend, is_same, terms_of

KINDS = {
    "classes": (make_multiclass(["a", "b", "c"]), (40, 3)),
    "many classes": (make_multiclass(list(range(30))), (40, 30)),
    "a number": (make_regression(), (40,)),
    "numbers": (make_regression(["x", "y"]), (40, 2)),
    "two rows": (make_regression(), (2,)),
}


def members(kind: Any, shape: tuple[int, ...], dtype: Any) -> list[Any]:
    random = np.random.default_rng(0)
    return [kind(y_pred=random.normal(size=shape).astype(dtype)) for _ in range(20)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", KINDS)
def test_a_mean_that_is_carried_along_is_the_kits(name: str, dtype: Any) -> None:
    kind, shape = KINDS[name]
    made = members(kind, shape, dtype)
    terms = terms_of(kind, {np.dtype(dtype)}, made[0].y_pred.size)
    assert terms is not None
    blends = [KitBlend(kind, made), MeanBlend(kind, made, terms, is_holding=True)]
    for index in np.random.default_rng(1).integers(len(made), size=80):
        for blend in blends:
            blend.add(int(index))
        assert is_same(blends[0].combined(), blends[1].combined())
        assert is_same(*(blend.combined_with(3) for blend in blends))


def test_what_is_no_mean_of_equal_arrays_is_left_to_the_kit() -> None:
    kind = make_regression()
    float32, float64 = np.dtype("float32"), np.dtype("float64")
    for dtypes, size in (({float32, float64}, 40), ({np.dtype("int64")}, 40), ({float64}, 1)):
        assert terms_of(kind, dtypes, size) is None
    median = type("Median", (kind,), {"combine": classmethod(lambda _cls, them: them[0])})
    for other in (median, make_detection(), make_combined([kind, kind])):
        assert terms_of(other, {float64}, 40) is None


def test_predictions_that_differ_in_a_bit_are_not_the_same() -> None:
    kind = make_regression()
    one = np.arange(20.0)
    other = one.copy()
    other[3] = np.nextafter(other[3], 4)
    assert is_same(kind(y_pred=one), kind(y_pred=one.copy()))
    assert not is_same(kind(y_pred=one), kind(y_pred=other))
    assert not is_same(kind(y_pred=one), kind(y_pred=one.astype(np.float32)))
