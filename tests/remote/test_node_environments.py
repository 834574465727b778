"""Environments that are made on a node are kept for the next event, within bounds."""

from __future__ import annotations

import os
from pathlib import Path

from ramp_engine.remote.node.made_environments import MadeEnvironments

REQUIREMENTS = "# nothing is needed\n"


def test_an_environment_is_made_once_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    folder = tmp_path / "environments"
    before = MadeEnvironments(folder)
    python = before.make(REQUIREMENTS)
    made_at = python.parent.parent.stat().st_mtime_ns
    others = MadeEnvironments(folder, max_bytes=1)
    assert before.make(REQUIREMENTS) == python
    assert python.parent.parent.stat().st_mtime_ns == made_at

    unused, text = folder / "unused", folder / "unused.txt"
    unused.mkdir()
    (unused / "file").write_bytes(b"some")
    text.touch()
    os.utime(text, (1, 1))
    second = others.make(REQUIREMENTS * 2)
    assert not unused.exists()
    assert not text.exists()
    assert python.exists(), "somebody uses it"
    assert second.exists(), "and this as well"
