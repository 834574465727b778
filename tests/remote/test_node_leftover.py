"""What a fold has left is told in a message that the other side takes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ramp_engine.fold_process import FoldRun, FoldScratch
from ramp_engine.remote.frames import MAX_HEADER_BYTES
from ramp_engine.remote.node.leftover import Leftover

LARGE = [
    json.dumps({"folds": [{"error": "\u00e9" * (7 << 20)}]}, ensure_ascii=False),
    json.dumps({"folds": [{"error": "x" * ((16 << 20) - 100)}]}),
]


@pytest.mark.parametrize("text", LARGE, ids=["grows", "large"])
def test_a_result_that_is_too_large_for_a_message_is_none(tmp_path: Path, text: str) -> None:
    scratch = FoldScratch(tmp_path, tmp_path / "tmp")
    scratch.result.write_text(text)
    assert scratch.result.stat().st_size <= 16 << 20
    process = SimpleNamespace(killed_by=None)
    run = cast("FoldRun", SimpleNamespace(scratch=scratch, returncode=0, process=process))
    header = Leftover(run, 0).header("")
    assert len(json.dumps(header)) <= MAX_HEADER_BYTES
    assert (header["how"], header["result"]) == ("done", None)
