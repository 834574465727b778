"""Environments that are made on a node are kept for the next event, within bounds."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ramp_engine.remote.node.made_environments import MadeEnvironments

REQUIREMENTS = "# nothing is needed\n"


def test_an_environment_is_made_once_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    folder = tmp_path / "environments"
    folder.mkdir()
    for name in ("unused", "used"):
        (folder / name).mkdir()
        (folder / name / "file").write_bytes(b"some")
        (folder / f"{name}.txt").touch()
        os.utime(folder / f"{name}.txt", (1, 1))
    made = MadeEnvironments(folder, max_bytes=1)
    with (folder / "used.use").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        python = made.make(REQUIREMENTS)
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(
        ["used", python.parent.parent.name]
    )
    made_at = python.parent.parent.stat().st_mtime_ns
    assert MadeEnvironments(folder).make(REQUIREMENTS) == python
    assert python.parent.parent.stat().st_mtime_ns == made_at
