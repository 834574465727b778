"""The harness sees what is wrong on a page, and only that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.documentation import commands, configurations, following, transcripts
from tests.documentation.pages import Block, inline_codes, links
from tests.documentation.pages import blocks as blocks_of


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("ramp launch dispatcher --event-confg x", "--event-confg"),
        ("ramp lunch", "lunch"),
        ("ramp setup deploy-event", "--event-config"),
        ("ramp explain", "SUBMISSION"),
        ("ramp explain 1 2", "2"),
        ("sleep 1 && ramp stauts --event iris", "stauts"),
        (".venv/bin/ramp-launch dispatcher --evnt x | head", "--evnt"),
    ],
)
def test_a_command_that_ramp_does_not_take_is_told(line: str, word: str) -> None:
    assert word.casefold() in "\n".join(commands.complaints(line)).casefold()


@pytest.mark.parametrize(
    "line",
    [
        "ramp --version",
        "ramp status --help",
        "ramp explain 4        # what happened, and (why)",
        "RAMP_CONFIG=x ramp status --event iris > out; ramp leaderboard --event iris",
        "ramp setup deploy-event \\\n    --event-config events/iris/config.yml",
        "dask scheduler --nonsense",
    ],
)
def test_a_command_that_ramp_takes_is_taken(line: str) -> None:
    assert commands.complaints(line) == []


def test_in_prose_values_may_be_left_out_but_not_misspelt() -> None:
    assert commands.complaints("ramp setup deploy-event --force", is_whole=False) == []
    assert commands.complaints("ramp setup deploy-event --froce", is_whole=False) != []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("worker:\n  dask_schedular: tcp://a:1\n", "dask_scheduler"),
        ("dispatcher:\n  n_workers: many\n", "n_workers"),
        ("ramp:\n  event_name: iris\nworker:\n  worker_type: local\n", "problem_name"),
        ("sqlalchemy:\n  drivername: mysql\n", "drivername"),
        ("sqlalchemy: {}\nnonsense: 1\n", "nonsense"),
        ("hooks:\n  chat: {hook_type: command, comand: [x]}\n", "comand"),
        ("- a\n- b\n", "no section"),
        ("wroker:\n  worker_type: local\n", "wroker"),
    ],
)
def test_a_configuration_that_ramp_does_not_take_is_told(
    text: str, word: str, tmp_path: Path
) -> None:
    assert word in "\n".join(configurations.complaints(text, "dask", tmp_path))


def test_a_fragment_may_leave_out_what_stands_elsewhere(tmp_path: Path) -> None:
    assert configurations.complaints("worker:\n  timeout: 5\n", "conda", tmp_path) == []


def test_printed_lines_match_but_for_what_differs_each_time() -> None:
    shown = "scored  acc 0.97  2.4 s\n ─────\n ...\n  1  demo  a...z\n"
    assert transcripts.matches(shown, "scored acc 0.81 13.0 s\n─\nmore\nmore\n1 demo abcz\n\n")
    assert not transcripts.matches(shown, "scored acc 0.81 2.4 s\n─\n1 demo abc\n")
    assert not transcripts.matches("1 of 2\n", "2 of 2\n")


PAGE = """# A page

Type `ramp status`, see [there](other.md).

1. So:

   ```console (exit 3)
   $ echo one \\
   >   two
   one two
   $ exit 3
   ```

   ```yaml (file: sub/config.yml)
   worker: {}
   ```
"""


@pytest.fixture
def page(tmp_path: Path) -> list[Block]:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    assert [text for _, text in inline_codes(path)] == ["ramp status"]
    assert [target for _, target in links(path)] == ["other.md"]
    return blocks_of(path)


def test_a_page_is_followed_with_files_and_exit_codes(page: list[Block], tmp_path: Path) -> None:
    reader = following.Reader(tmp_path, Path(sys.executable))
    assert [complaint for block in page for complaint in reader.follow(block)] == []
    assert (tmp_path / "sub" / "config.yml").read_text() == "worker: {}\n"
    assert len(reader.printed) == 2


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [("exit 3)", "exit 4)", "ended with 3"), ("   one two", "   one three", "expected")],
)
def test_a_page_that_is_wrong_is_told(
    right: str, wrong: str, told: str, page: list[Block], tmp_path: Path
) -> None:
    path = page[0].page
    path.write_text(PAGE.replace(right, wrong))
    reader = following.Reader(tmp_path, Path(sys.executable))
    found = [complaint for block in blocks_of(path) for complaint in reader.follow(block)]
    assert len(found) == 1
    assert told in found[0]
