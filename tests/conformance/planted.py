"""A worker with a fault, and which tests of the suite find it; run by `test_planted_faults`."""

from __future__ import annotations

from typing import ClassVar

from tests.conformance.fakes import FakeConformance

GOOD_RUN = "test_a_good_run_gives_predictions_and_log"
TEARDOWN = "test_teardown_is_safe_from_any_status_and_twice"


class Planted(FakeConformance):
    """A fault.

    Attributes
    ----------
    caught_by : dict
        The tests that fail, and a part of what each says.
    is_broad : bool
        Whether others fail as well, since hardly anything works with such a fault; they are not
        run.
    """

    caught_by: ClassVar[dict[str, str]]
    is_broad: ClassVar[bool] = False
