"""Folders that somebody else's code has left are removed, whatever was done to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ramp_engine.fold_process import remove_tree


def test_folders_deeper_than_the_stack_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    for branch in ("a", "b"):
        (root / branch).mkdir(parents=True)
        monkeypatch.chdir(root / branch)
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        Path("file").write_text("at the bottom")
    monkeypatch.chdir(tmp_path)
    remove_tree(root)
    assert not root.exists()


def test_folders_that_nobody_may_enter_are_removed(tmp_path: Path) -> None:
    below = tmp_path / "root" / "closed" / "below"
    below.mkdir(parents=True)
    (below / "file").touch(mode=0)
    for folder in (below, below.parent):
        folder.chmod(0)
    remove_tree(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_what_links_lead_to_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    (kept / "file").touch()
    (tmp_path / "root" / "below").mkdir(parents=True)
    (tmp_path / "root" / "below" / "link").symlink_to(kept)
    (tmp_path / "root" / "link").symlink_to(kept)
    remove_tree(tmp_path / "root")
    assert not (tmp_path / "root").exists()
    assert (kept / "file").exists()
    assert kept.stat().st_mode & 0o777 == 0o755
