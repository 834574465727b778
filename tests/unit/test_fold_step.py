"""What a worker takes of a run somewhere else: data, whatever it says it is."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.errors import CollectError, WorkerSetupError
from ramp_engine.fold_step import FoldStep

NAME = "submission_000000001"
DONE = json.dumps({"folds": [{"fold": 0, "state": "tested", "error": None}]}).encode()


@pytest.fixture
def step(tmp_path: Path) -> FoldStep:
    (tmp_path / "submissions" / NAME).mkdir(parents=True)
    (tmp_path / "submissions" / NAME / "estimator.py").write_text("print()\n")
    (tmp_path / "submissions" / NAME / "link").symlink_to("/etc/passwd")
    config = {f"{name}_dir": str(tmp_path / name) for name in ("submissions", "predictions")}
    config |= {"logs_dir": str(tmp_path / "logs"), "bundle_dir": str(tmp_path / "bundle")}
    return FoldStep(config, NAME, Path("/elsewhere/run"))


def left(tmp_path: Path, files: dict[str, bytes], **links: str) -> Path:
    """Make a tar as a run may leave it."""
    path = tmp_path / "left.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(f"output/fold_0/{name}.npz")
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return path


def test_predictions_and_logs_are_put_where_the_dispatcher_wants_them(
    step: FoldStep, tmp_path: Path
) -> None:
    files = {"output/fold_0/y_pred_train.npz": b"1", "output/fold_0/mischief.sh": b"2"}
    files |= {"result.json": DONE, "log": b"printed\n", "private_log": b"of test data\n"}
    assert step.collect(left(tmp_path, files), 0) == (0, "")
    assert [path.name for path in tmp_path.glob(f"predictions/{NAME}/*/*")] == ["y_pred_train.npz"]
    logs = tmp_path / "logs" / NAME
    assert (logs / "log").read_bytes() == b"printed\n"
    assert (logs / "private.log").stat().st_mode & 0o777 == 0o600


def test_a_link_in_what_was_left_leads_nowhere(step: FoldStep, tmp_path: Path) -> None:
    inside = left(tmp_path, {"result.json": DONE}, y_pred_train="../../result.json")
    assert step.collect(inside, 0) == (0, "")
    assert list(tmp_path.glob(f"predictions/{NAME}/fold_0/*")) == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../elsewhere"])
def test_a_link_that_would_lead_outside_loses_nothing_else(
    step: FoldStep, tmp_path: Path, target: str
) -> None:
    files = {"output/fold_0/y_pred_train.npz": b"1", "result.json": DONE}
    assert step.collect(left(tmp_path, files, y_pred_test=target), 0) == (0, "")
    assert [path.name for path in tmp_path.glob(f"predictions/{NAME}/*/*")] == ["y_pred_train.npz"]


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.LNKTYPE])
def test_a_special_file_loses_nothing_else(step: FoldStep, tmp_path: Path, kind: bytes) -> None:
    path = left(tmp_path, {"result.json": DONE})
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("output/fold_0/y_pred_test.npz")
        member.type, member.linkname = kind, "nowhere"
        tar.addfile(member)
    assert step.collect(path, 0) == (0, "")


def test_a_tar_of_nothing_is_no_success_and_no_error_of_collecting(
    step: FoldStep, tmp_path: Path
) -> None:
    returncode, error_msg = step.collect(left(tmp_path, {}), 0)
    assert returncode != 0
    assert "left no result" in error_msg


def test_a_compressed_tar_is_not_unpacked(step: FoldStep, tmp_path: Path) -> None:
    small = tmp_path / "small.tar"
    small.write_bytes(gzip.compress(left(tmp_path, {"log": bytes(1 << 20)}).read_bytes()))
    with pytest.raises(CollectError, match=NAME):
        step.collect(small, 0)


def test_a_file_outside_its_folder_is_not_written(step: FoldStep, tmp_path: Path) -> None:
    with pytest.raises(CollectError, match="outside"):
        step.collect(left(tmp_path, {"../escaped": b"", "result.json": DONE}), 0)
    assert not (tmp_path / "escaped").exists()


def test_what_is_no_tar_is_an_error_of_collecting(step: FoldStep, tmp_path: Path) -> None:
    (tmp_path / "left.tar").write_bytes(b"no tar")
    with pytest.raises(CollectError, match=NAME):
        step.collect(tmp_path / "left.tar", 0)


def test_a_run_that_left_no_result_is_no_success(step: FoldStep, tmp_path: Path) -> None:
    returncode, error_msg = step.collect(left(tmp_path, {"log": b""}), 0)
    assert returncode != 0
    assert "left no result" in error_msg


def test_an_interpreter_that_is_missing_is_no_fault_of_the_participant(
    step: FoldStep, tmp_path: Path
) -> None:
    with pytest.raises(WorkerSetupError, match="env: no such file"):
        step.collect(left(tmp_path, {"log": b"env: no such file\n"}), 127)


def test_what_goes_to_the_platform_is_the_submission_and_the_program(step: FoldStep) -> None:
    submission = Path(step.config["submissions_dir"], NAME)
    os.link(submission / "estimator.py", submission / "twin.py")  # as a file system may by itself
    file = io.BytesIO()
    step.write_tar(file)
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        names = set(tar.getnames())
        assert tar.getmember("submission/twin.py").isreg()
    assert {"submission/estimator.py", "evaluation/supervise.py", "home", "work", "tmp"} <= names
    assert "submission/link" not in names
    assert not [name for name in names if "__pycache__" in name]


def test_a_submission_that_is_gone_is_told(step: FoldStep) -> None:
    missing = FoldStep(step.config, "submission_000000002", step.folder)
    with pytest.raises(WorkerSetupError, match="submission_000000002"):
        missing.write_tar(io.BytesIO())


@pytest.mark.parametrize(("memory", "told"), [("auto", None), (2048, 2048.0)])
def test_memory_is_limited_where_it_is_given_in_numbers(
    step: FoldStep, memory: Any, told: float | None
) -> None:
    config = {**step.config, "limits": {"memory_mb": memory}}
    words = FoldStep(config, NAME, step.folder).command("/env/bin/python", Path("/bundle"))
    spec = json.loads(words[words.index("--sandbox") + 1])
    assert spec["limits"]["memory_mb"] == told
    assert words[:2] == ["env", "-i"]
