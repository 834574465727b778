"""A worker that runs nothing and behaves as it is told."""

from __future__ import annotations

import array
import os
import struct
import threading
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ramp_engine.base import TIMEOUT_RETURNCODE, BaseWorker, Capability
from ramp_engine.errors import (
    CollectError,
    ResourceUnavailableError,
    WorkerError,
    WorkerLostError,
    WorkerSetupError,
)
from ramp_engine.missing_predictions import missing_predictions
from ramp_engine.testing.scenarios import BAD_BYTES, FAILURE, HEAD, TAIL, Scenario

__all__ = ["FakeWorker", "FakeWorkerConfig"]

Step = Literal[
    "setup",
    "launch_submission",
    "status",
    "collect_results",
    "collect_done_folds",
    "teardown",
    "handle",
    "attach",
    "cancel",
]
_ERRORS: dict[str, type[WorkerError]] = {
    "setup": WorkerSetupError,
    "unavailable": ResourceUnavailableError,
    "lost": WorkerLostError,
    "collect": CollectError,
}
_LOGS: dict[Scenario, Callable[[], bytes]] = {
    Scenario.BAD_BYTES: lambda: BAD_BYTES,
    Scenario.LARGE_LOG: lambda: f"{HEAD}\n{'x' * 1_000_000}\n{TAIL}\n".encode(),
}


class FakeWorkerConfig(BaseModel):
    """The keys of a `FakeWorker`."""

    model_config = ConfigDict(extra="forbid")

    scenario: Scenario = Field(default=Scenario.GOOD, description="How the run goes.")
    seconds: float = Field(default=0.0, ge=0, description="How long the run takes.")
    outlives_dispatcher: bool = Field(
        default=False, description="Whether the run goes on when its dispatcher dies."
    )
    hang_in: Step | None = Field(default=None, description="The method that never returns.")
    fail_in: Step | None = Field(default=None, description="The method that raises an error.")
    error: Literal["setup", "unavailable", "lost", "collect", "foreign"] = Field(
        default="lost", description="The error of `fail_in`; `foreign` is none of ours."
    )
    rows: tuple[int, int] = Field(
        default=(20, 20), description="Rows of the training and of the test data."
    )
    columns: int = Field(default=2, ge=1, description="Columns of the predictions.")


class FakeWorker(BaseWorker):
    """Behave as configured, without a process.

    Parameters
    ----------
    config : mapping
        `FakeWorkerConfig`, and what the dispatcher adds.
    submission : str

    Attributes
    ----------
    clock : callable
        What ``seconds`` are measured with.
    released : threading.Event
        Set it to let a hung method go on.
    """

    config_model: ClassVar[type[BaseModel] | None] = FakeWorkerConfig
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        super().__init__(config, submission)
        own = {key: config[key] for key in FakeWorkerConfig.model_fields if key in config}
        self.behaviour = FakeWorkerConfig.model_validate(own)
        self.released = threading.Event()
        self._run_file: Path | None = None
        self._handed: list[int] = []

    def setup(self) -> None:
        """Get ready, or not."""
        self._misbehave("setup")
        super().setup()

    def launch_submission(self) -> None:
        """Note the time."""
        self._misbehave("launch_submission")
        super().launch_submission()
        if self._run_file is not None:
            self._run_file.touch(exist_ok=False)

    def _seconds_left(self) -> float:
        started_at = self.clock() if self._started_at is None else self._started_at
        return started_at + self.behaviour.seconds - self.clock()

    def _is_submission_finished(self) -> bool:
        self._misbehave("status")
        never = (Scenario.HANGING, Scenario.HALF, Scenario.MOVED, Scenario.INTERRUPTED)
        return self.behaviour.scenario not in never and self._seconds_left() <= 0

    def _is_submission_interrupted(self) -> bool:
        is_lost = self.behaviour.scenario in (Scenario.MOVED, Scenario.INTERRUPTED)
        return is_lost and self._seconds_left() <= 0

    def wait(self, timeout_seconds: float) -> None:
        """Wait for the end of the run, as far as it lies within `timeout_seconds`."""
        super().wait(max(0.0, min(timeout_seconds, self._seconds_left())) or 0.001)

    def collect_done_folds(self) -> Collection[int]:
        """Hand over folds one after the other, each after its share of the time of the run."""
        self._misbehave("collect_done_folds")
        never = (Scenario.FAILING, Scenario.EXITING, Scenario.HANGING)
        if self.last_status not in ("running", "retry") or self.behaviour.scenario in never:
            return self._handed
        predictions = Path(self.config["predictions_dir"], self.submission)
        for fold in self._done_folds:
            if fold not in self._handed:
                self._write_fold(predictions / f".fold_{fold}")
                (predictions / f".fold_{fold}").rename(predictions / f"fold_{fold}")
                self._handed.append(fold)
        return self._handed

    @property
    def _done_folds(self) -> list[int]:
        folds, scenario = self._folds, self.behaviour.scenario
        if scenario is Scenario.HALF:
            return [fold for fold in folds if fold == 0]
        if scenario in (Scenario.MOVED, Scenario.INTERRUPTED):
            return folds[:1] if scenario is Scenario.MOVED else []
        share = 1.0 - max(0.0, self._seconds_left()) / (self.behaviour.seconds or 1.0)
        return folds[: int(share * len(folds))]

    @property
    def _folds(self) -> list[int]:
        return list(self.config.get("folds") or range(int(self.config.get("n_folds", 2))))

    def collect_results(self) -> tuple[int, str]:
        """Write what a run would have left behind."""
        super().collect_results()
        self._misbehave("collect_results")
        logs = Path(self.config["logs_dir"], self.submission)
        logs.mkdir(parents=True, exist_ok=True)
        scenario = self.behaviour.scenario
        kept = sorted(self.config.get("kept_folds", {}).items())
        told = "".join(f"fold {fold} is kept from attempt {attempt}\n" for fold, attempt in kept)
        (logs / "log").write_bytes(told.encode() + _LOGS.get(scenario, lambda: b"fake\n")())
        returncode, error_msg = self._write_folds(scenario)
        self.status = "collected"
        return returncode, error_msg

    def _write_folds(self, scenario: Scenario) -> tuple[int, str]:
        predictions = Path(self.config["predictions_dir"], self.submission)
        predictions.mkdir(parents=True, exist_ok=True)
        if scenario is Scenario.EXITING:
            return 1, "the run left no result"
        if scenario is Scenario.FAILING:
            _write(predictions / "fold_0", {"state.txt": "training_error", "error.txt": FAILURE})
            return 1, f"fold 0 failed while training: {FAILURE}"
        if scenario in (Scenario.HANGING, Scenario.HALF):
            return TIMEOUT_RETURNCODE, "time limit exceeded"
        for fold in self._folds:
            if fold not in self._handed:
                self._write_fold(predictions / f"fold_{fold}")
        if scenario in (Scenario.PARTIAL, Scenario.TORN):
            return _damage(predictions, self._folds, is_torn=scenario is Scenario.TORN)
        return 0, ""

    def _write_fold(self, fold: Path) -> None:
        times = dict.fromkeys(("train_time", "valid_time", "test_time"), "0.01")
        _write(fold, {"state.txt": "tested", **times})
        for step, n_rows in zip(("train", "test"), self.behaviour.rows, strict=True):
            _write_npz(fold / f"y_pred_{step}.npz", n_rows, self.behaviour.columns)

    def teardown(self) -> None:
        """Release what hangs, and end the run."""
        self._misbehave("teardown")
        self.released.set()
        if self._run_file is not None:
            self._run_file.unlink(missing_ok=True)
        super().teardown()

    def cancel(self) -> None:
        """End the run."""
        self._misbehave("cancel")
        self.released.set()
        super().cancel()

    def handle(self) -> str | None:
        """Name the file that stands for the run; None unless it outlives its dispatcher."""
        self._misbehave("handle")
        if self.behaviour.outlives_dispatcher:
            self._run_file = Path(self.config["logs_dir"]).parent / f"{self.submission}.run"
        return str(self._run_file) if self._run_file else None

    def attach(self, handle: str) -> None:
        """Take over a run; it is gone when its file is."""
        self._misbehave("attach")
        if not Path(handle).exists():
            raise WorkerLostError(f"there is no run {handle}")
        super().attach(handle)
        self._run_file = Path(handle)

    def detach(self) -> None:
        """Forget the run, which goes on."""
        self._run_file = None
        self.released.set()
        super().detach()

    def _misbehave(self, step: Step) -> None:
        if self.behaviour.hang_in == step:
            self.released.wait()
        if self.behaviour.fail_in == step:
            if self.behaviour.error == "foreign":
                raise RuntimeError(f"planted error in {step}")
            raise _ERRORS[self.behaviour.error](f"planted error in {step}")


def _damage(predictions: Path, folds: list[int], *, is_torn: bool) -> tuple[int, str]:
    """Take the predictions of the last fold away, or the end of their file."""
    path = predictions / f"fold_{folds[-1]}" / "y_pred_test.npz"
    if is_torn:
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.unlink()
    return 1, missing_predictions(predictions, folds)


def _write(directory: Path, texts: Mapping[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text + "\n")


def _write_npz(path: Path, n_rows: int, n_columns: int) -> None:
    """Write predictions, each class as probable as the other, as numpy would (it is not needed)."""
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({n_rows}, {n_columns}), }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    values = array.array("d", [1.0 / n_columns]) * (n_rows * n_columns)
    array_file = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("y_pred.npy", array_file + values.tobytes())
