"""What is done on the machine may be done twice."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from ramp_worker_ssh import scripts


def test_unpacking_may_be_done_twice(tmp_path: Path) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    run.mkdir()
    (tmp_path / "file").write_text("content")
    for name in ("run.tar", "bundle.tar"):
        with tarfile.open(run / name, "w") as tar:
            tar.add(tmp_path / "file", "file")
    for _ in range(2):
        command = ["sh", "-c", scripts.UNPACK, "sh", str(run), str(bundle)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert {path.name for path in run.iterdir()} == {"file"}
        assert [path.name for path in bundle.iterdir()] == ["file"]
