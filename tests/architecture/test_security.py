"""The security rules of the linter hold, and every exception to them says why."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import ramp_database
import ramp_engine

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for package in (ramp_database, ramp_engine)
    for path in sorted(Path(package.__path__[0]).rglob("*.py"))
]
_EXCEPTION = re.compile(r"# (?:ruff: )?noqa(?P<rules>:[ A-Z0-9,]*\b|\b)(?P<reason>.*)")
_IS_SECURITY = re.compile(r"\bS\d{3}\b")


def exceptions(text: str) -> list[tuple[str, str]]:
    """Give rules and reason of each exception that concerns security; one without rules does."""
    found = (match for line in text.splitlines() if (match := _EXCEPTION.search(line)))
    return [
        (match["rules"].strip(": "), match["reason"].strip(" -()"))
        for match in found
        if _IS_SECURITY.search(match["rules"]) or not match["rules"]
    ]


def test_every_exception_to_a_security_rule_says_why() -> None:
    silent = [
        (str(path), rules)
        for path in SOURCES
        for rules, reason in exceptions(path.read_text(encoding="utf-8"))
        if len(reason.split()) < 2
    ]
    assert silent == []


def test_exceptions_are_found_in_each_spelling() -> None:
    text = "a  # noqa: S101\nb  # noqa: E501, S608  no user input\nc  # noqa\nd  # noqa: E501  long"
    assert exceptions(text) == [("S101", ""), ("E501, S608", "no user input"), ("", "")]


def test_the_security_rules_are_on_for_all_that_ships() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"][
        "lint"
    ]
    assert "S" in lint["select"]
    assert [rule for rule in lint["ignore"] if rule.startswith("S")] == ["S603"]
    shipped = {
        pattern: rules
        for pattern, rules in lint["per-file-ignores"].items()
        if pattern.startswith("ramp_")
    }
    assert not any(
        rule == "S" or _IS_SECURITY.search(rule) for rules in shipped.values() for rule in rules
    )
