"""Whoever follows a page gets where it says, and sees what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.deployment import processes_of, wait_until
from tests.documentation.following import Reader
from tests.documentation.pages import REPOSITORY, blocks
from tests.open_environment import open_python, remove_open_environment

#: The pages that are followed, from the first block to the last.
EXECUTED = ["doc/quickstart.md", "doc/howto/deploy-an-event.md"]


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    yield open_python()
    remove_open_environment()


@pytest.mark.parametrize("page", EXECUTED)
def test_who_follows_the_page_sees_what_it_shows(page: str, python: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    reader = Reader(tmp_path, python)
    told = [complaint for block in blocks(REPOSITORY / page) for complaint in reader.follow(block)]
    assert told == []
    assert reader.printed, "nothing of the page was run"
    assert wait_until(lambda: processes_of(tmp_path) == [])
