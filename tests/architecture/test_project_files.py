"""What GitHub and pre-commit read is what they understand, and says what `make lint` does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))
#: https://docs.github.com/communities/using-templates-to-encourage-useful-issues-and-pull-requests
ELEMENTS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def test_the_hooks_are_the_programs_of_make_lint() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert all(hook["language"] == "system" for hook in hooks)  # nothing is fetched
    words = [hook["entry"].removeprefix(".venv/bin/").split()[:2] for hook in hooks]
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    called = [line.split()[:2] for line in re.findall(r"\$\(BIN\)/(.*)", lint)]
    assert sorted(words) == sorted(called)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_asks_in_words_that_github_knows(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert form.keys() == {"name", "description", "labels", "body"}
    questions = [one for one in form["body"] if one["type"] != "markdown"]
    assert {one["type"] for one in form["body"]} <= ELEMENTS
    assert all(one["attributes"]["label"] for one in questions)
    names = [one["id"] for one in questions]
    assert len(names) == len(set(names)) > 0
