"""A submission whose folds reach for each other while they run side by side."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramp_engine.fold_process import remove_tree
from tests.hostile.harness import Arena
from tests.integration.confined import Variant, refusal
from tests.kits.evaluation import Event, bundled_event
from tests.kits.light import lighten


@pytest.fixture(scope="module")
def event() -> Iterator[Event]:
    """Lie where everybody may come, as without namespaces it must."""
    root = Path(tempfile.mkdtemp(prefix="ramp-beside-", dir="/tmp"))
    root.chmod(0o755)
    try:
        event = bundled_event("iris", root)
        lighten(event.kit)
        assert event.prepare().code == 0
        yield event
    finally:
        remove_tree(root)


@pytest.mark.parametrize("level", ["namespaces", "landlock", "none"])
def test_folds_at_the_same_time_do_not_come_to_each_others_files(event: Event, level: str) -> None:
    reason = refusal(Variant(level, os.geteuid() == 0))
    if reason:
        pytest.skip(f"this machine does not offer {level}: {reason}")
    arena = Arena(event, level)
    found = arena.run("reaches_for_the_fold_beside", more=("--jobs", "2"))
    log = found.log.decode()
    assert [fold["state"] for fold in found.folds] == ["tested", "tested"], log
    begun, ended = (re.findall(f"{word} (.*)", log) for word in ("BEGUN", "ENDED"))
    assert max(map(float, begun)) < min(map(float, ended)), "not at the same time"
    reached = re.findall("(STOLEN|CHANGED|REMOVED)", log)
    if level == "none":  # which promises nothing: it would be found
        assert {"STOLEN", "CHANGED"} <= set(reached)
    else:
        assert reached == [], log
    assert found.survivors == []
