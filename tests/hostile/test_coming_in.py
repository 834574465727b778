"""Submissions that are refused when they come in, by `ramp submit`, and leave nothing."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from ramp_database.config import load_deployment
from ramp_database.model import Submission
from ramp_database.session import Database
from tests.acceptance.deployment import Deployment
from tests.acceptance.warm import WarmPrograms

CODE = b"def get_estimator():\n    pass\n"


def folder(root: Path, name: str | bytes = "entry", code: bytes = CODE) -> Path:
    made = root / os.fsdecode(name)
    made.mkdir()
    (made / "estimator.py").write_bytes(code)
    return made


def with_link(root: Path) -> Path:
    (folder(root) / "notes.txt").symlink_to("/etc/passwd")
    return root / "entry"


def with_pipe(root: Path) -> Path:
    os.mkfifo(folder(root) / "notes.txt")
    return root / "entry"


def archive(*names: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        with zipfile.ZipFile(root / "entry.zip", "w") as file:
            for name in ("estimator.py", *names):
                file.writestr(name, CODE)
        return root / "entry.zip"

    return make


def bomb(root: Path) -> Path:
    with zipfile.ZipFile(root / "entry.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("estimator.py", CODE + b"#" * (60 << 20))
    return root / "entry.zip"


#: What is submitted, under which name if not its own, and what the participant is told.
REFUSED: dict[str, tuple[Callable[[Path], Path], str | None, str]] = {
    "a name of two lines": (folder, "one\ntwo", "is not allowed"),
    "a name that terminals obey": (folder, "\x1b[2Jgone", "is not allowed"),
    "a name without end": (folder, "x" * 100_000, "is not allowed"),
    "a folder whose name is no text": (
        lambda root: folder(root, b"entry-\xff\xfe"),
        None,
        "is not allowed",
    ),
    "code that is no text": (
        lambda root: folder(root, code=CODE + b"# \xff\n"),
        None,
        "not UTF-8 text: the byte 0xff in line 3",
    ),
    "code with a NUL": (lambda root: folder(root, code=b"\0" + CODE), None, "a NUL in line 1"),
    "a link": (with_link, None, "is a link or a special file"),
    "a pipe": (with_pipe, None, "is a link or a special file"),
    "a way out of the archive": (archive("../../../../etc/x.py"), None, "is not allowed"),
    "an absolute path in the archive": (archive("/etc/x.py"), None, "is not allowed"),
    "a file name with a newline": (archive("a\nb.py"), None, "is not allowed"),
    "two names that differ by case": (archive("ESTIMATOR.py"), None, "the same name"),
    "an archive that is a bomb": (bomb, None, "times its own size"),
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    programs = WarmPrograms()
    folder = tmp_path_factory.mktemp("coming_in") / "deployment"
    made = Deployment(folder, programs, "sqlite:///ramp.db")
    try:
        made.add_iris()
        made.deploy()
        yield made
    finally:
        programs.end()


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_a_reason(case: str, deployment: Deployment, tmp_path: Path) -> None:
    make, name, reason = REFUSED[case]
    named = [] if name is None else ["--name", name]
    words = [str(make(tmp_path)), "--event", "iris", "--team", "red", "--create-team", *named]
    told = deployment.ramp("submit", *words, code=1).stderr
    assert reason in told
    assert "Traceback" not in told
    assert len(told) < 1000
    assert not set(told) & {"\x1b", "\0"}
    with Database(load_deployment(deployment.directory / "config.yml").url).session() as session:
        assert session.scalars(select(Submission)).all() == []
