"""What documentation says of commands, keys, code and files is so, on every page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation import commands, configurations
from tests.documentation.pages import (
    Block,
    blocks,
    inline_codes,
    links,
    name_of,
    pages,
)

PAGES = pages()
every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
#: Blocks of these languages are looked at, by a test here or by who follows the page.
_KNOWN = {"console", "yaml", "python", "text", "", "toml", "ini", "json", "sql", "diff"}


def test_there_are_pages_with_commands_and_configurations() -> None:
    found = [block.language for page in PAGES for block in blocks(page)]
    assert found.count("console") > 20
    assert found.count("yaml") > 10


@every_page
def test_every_command_is_one_that_ramp_takes(page: Path) -> None:
    found = [
        f"{block.place}: {complaint}"
        for block in blocks(page, "console")
        for step in commands.steps(block.text)
        for complaint in commands.complaints(step.command)
    ]
    assert found == []


@every_page
def test_every_command_named_in_prose_is_there(page: Path) -> None:
    found = [
        f"{name_of(page)}:{line}: {complaint}"
        for line, text in inline_codes(page)
        if text.startswith("ramp ") and text.isprintable()
        for complaint in commands.complaints(text, is_whole=False)
    ]
    assert found == []


@every_page
def test_every_configuration_is_one_that_ramp_takes(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block, worker_type in configurations.configurations(page):
        for name in re.findall(r"\$\{(\w+)\}", block.text):
            monkeypatch.setenv(name, "1")
        told = configurations.complaints(block.text, worker_type, tmp_path)
        assert [f"{block.place}: {complaint}" for complaint in told] == []


def _code(page: Path, found: list[Block]) -> str:
    """Put blocks below one another, each at the line that it has on the page."""
    lines = [""] * len(page.read_text().splitlines())
    for block in found:
        compile(block.text, block.place, "exec")
        for number, line in enumerate(block.text.splitlines(), block.line):
            lines[number] = line if block.is_run else ""
    return "\n".join(lines)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem.replace('-', '_')}.py"
    script.write_text(_code(page, blocks(page, "python")))
    command = [sys.executable, script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


@every_page
def test_every_block_says_what_it_is(page: Path) -> None:
    others = [
        f"{block.place}: {block.language}"
        for block in blocks(page)
        if not block.language.startswith("{") and block.language not in _KNOWN
    ]
    assert others == []


@every_page
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    """Sphinx checks those of the site, with their headings; not all pages are on it."""
    dead = [
        f"{name_of(page)}:{line}: {target}"
        for line, target in links(page)
        if not re.match(r"[a-z]+:|#", target)
        and not (page.parent / target.partition("#")[0]).exists()
    ]
    assert dead == []
