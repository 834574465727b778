"""Where a run may write, and what it may leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ramp_engine.testing.footprint import Footprint

NAME = "submission_000000001"


def config_in(folder: Path) -> dict[str, str]:
    config = {f"{key}_dir": str(folder / key) for key in ("submissions", "kit", "work")}
    config |= {f"{key}_dir": str(folder / key) for key in ("predictions", "logs")}
    for path in config.values():
        Path(path, NAME).mkdir(parents=True)
    Path(config["submissions_dir"], NAME, "estimator.py").write_text("handed in")
    Path(config["kit_dir"], "problem.py").write_text("kit")
    return config


@pytest.mark.parametrize(
    ("written", "stray"),
    [
        (f"predictions/{NAME}/fold_0", None),
        (f"logs/{NAME}/log", None),
        (f"submissions/{NAME}/training_output", None),
        (f"submissions/{NAME}/estimator.py", "was changed"),
        ("predictions/submission_000000002", "was left behind"),
        ("work/cache", None),
        ("kit/problem.py", "was changed"),
        ("kit/__pycache__", None),
        ("scratch-1", "was left behind"),
        ("cwd/job.sh", "was left behind"),
    ],
)
def test_what_is_there_afterwards_is_held_against_what_was_there(
    tmp_path: Path, written: str, stray: str | None
) -> None:
    (tmp_path / "cwd").mkdir()
    footprint = Footprint(config_in(tmp_path), NAME, (), tmp_path / "cwd")
    (tmp_path / written).write_text("something else")
    expected = [] if stray is None else [f"{tmp_path / written} {stray}"]
    assert footprint.strays([]) == expected


def test_a_file_that_was_handed_in_is_not_taken_away(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    footprint = Footprint(config, NAME, (), tmp_path / "cwd")
    path = Path(config["submissions_dir"], NAME, "estimator.py")
    path.unlink()
    assert footprint.strays([]) == [f"{path} was removed"]


def test_what_is_written_elsewhere_is_told_unless_the_folder_is_the_workers_own(
    tmp_path: Path,
) -> None:
    events = [("open", ("/srv/jobs/17.sh", "w", os.O_WRONLY)), ("os.mkdir", ("/srv/mine", 1, -1))]
    events += [("open", ("/srv/read", "r", os.O_RDONLY)), ("open", ("relative", "w", os.O_CREAT))]
    config = config_in(tmp_path)
    footprint = Footprint(config, NAME, (Path("/srv/mine"),), tmp_path / "cwd")
    assert footprint.strays(events) == ["/srv/jobs/17.sh was written"]
