"""The page on the hostile set says what the set is, and what the runs of it show."""

from __future__ import annotations

from tests.hostile import report
from tests.hostile.cases import CASES, NOT_IN_THE_ARENA, SUBMISSIONS


def test_the_page_says_what_the_runs_show() -> None:
    page = report.TABLE.read_text(encoding="utf-8")
    assert page == report.text(), "run `python -m tests.hostile.report`"


def test_every_submission_is_a_case() -> None:
    known = [*(case.name for case in CASES), *NOT_IN_THE_ARENA]
    assert sorted(known) == sorted(path.stem for path in SUBMISSIONS.glob("*.py"))


def test_the_strongest_level_holds_all() -> None:
    assert [case.name for case in CASES if "namespaces" in case.weaker] == []
    assert len(CASES) > 60
