"""The part of the suite for what a worker brings back, and leaves; see `conformance`."""
# ruff: noqa: S101  a test suite, run by pytest

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import pytest

from ramp_engine.base import BaseWorker, Capability
from ramp_engine.missing_predictions import missing_predictions
from ramp_engine.testing.auditing import audited
from ramp_engine.testing.footprint import Footprint
from ramp_engine.testing.scenarios import BAD_BYTES, FAILURE, HEAD, TAIL, Scenario
from ramp_engine.testing.worker_lives import (
    MakeWorker,
    alone,
    assert_success,
    fold_of,
    log_of,
)

__all__ = ["OutputConformance"]

#: A log that was cut is no longer than this, in bytes.
MAX_LOG_BYTES = 64 << 20
_ODD_NAME = "sub 'mission' \"ü\"; $(exit) %s"


class OutputConformance:
    """What a worker holds of predictions and logs, and of all other files."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    patience_seconds: ClassVar[float] = 60.0

    @pytest.fixture
    def own_folders(self) -> Collection[Path]:
        """Name folders that the worker may write to beside those of its config."""
        return ()

    def test_failing_code_is_told_and_is_no_error_of_the_worker(self, make: MakeWorker) -> None:
        """The participant's failure comes as return code and message, and with the log."""
        worker = make(Scenario.FAILING)
        returncode, error_msg = alone(worker)
        assert returncode != 0, "collect_results() gives 0 for code that raised an exception"
        assert FAILURE in error_msg, (
            f"the participant is told {error_msg!r:.300}, not what the code raised: {FAILURE!r}"
        )
        assert log_of(worker).is_file(), "the log of code that failed is lost"

    @pytest.mark.parametrize("scenario", [Scenario.EXITING, Scenario.PARTIAL, Scenario.TORN])
    def test_missing_predictions_are_no_success(self, make: MakeWorker, scenario: Scenario) -> None:
        """Of code that ends its process, with exit code 0, before all of them are written."""
        returncode, error_msg = alone(make(scenario))
        assert returncode != 0, (
            f"collect_results() tells of a success, and predictions are missing ({scenario}): "
            "ramp_engine.missing_predictions tells which, whatever the exit code was"
        )
        assert error_msg, "collect_results() must tell what is missing"

    def test_bad_bytes_in_the_log_are_kept_as_they_are(self, make: MakeWorker) -> None:
        """A log is bytes."""
        worker = make(Scenario.BAD_BYTES)
        assert_success(worker, alone(worker))
        assert BAD_BYTES in log_of(worker).read_bytes(), (
            f"the log lacks {BAD_BYTES!r}, which was printed: read and write it as bytes"
        )

    def test_of_a_large_log_head_and_tail_are_there(self, make: MakeWorker) -> None:
        """It harms nothing, and may be cut in the middle."""
        worker = make(Scenario.LARGE_LOG)
        assert_success(worker, alone(worker))
        text = log_of(worker).read_bytes()
        assert len(text) <= MAX_LOG_BYTES, f"a log of {len(text)} bytes should have been cut"
        head, tail = text.find(HEAD.encode()), text.rfind(TAIL.encode())
        assert 0 <= head < tail, "head or tail of a large log is missing: cut it in the middle"

    def test_odd_names_do_no_harm(self, make: MakeWorker) -> None:
        """A name is data, for shells and paths alike."""
        worker = make(Scenario.GOOD, submission=_ODD_NAME)
        assert_success(worker, alone(worker))

    def test_it_writes_to_its_own_folders_only(
        self,
        make: MakeWorker,
        own_folders: Collection[Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """And leaves nothing there but predictions and logs."""
        cwd = tmp_path / "working directory"
        cwd.mkdir()
        monkeypatch.chdir(cwd)
        worker = make(Scenario.GOOD)
        footprint = Footprint(worker.config, worker.submission, own_folders, cwd)
        with audited() as events:
            assert_success(worker, alone(worker))
        strays = footprint.strays(events)
        assert not strays, (
            f"{'; '.join(strays)}. A worker writes to <submission>/ below predictions_dir and "
            "logs_dir, to work_dir, and till teardown() to a temporary folder of its own or beside "
            "submissions_dir; the fixture `own_folders` names what else is its own"
        )

    def test_a_fold_that_is_done_is_handed_over_while_another_runs(self, make: MakeWorker) -> None:
        """It is complete, it stays, and the worker goes on."""
        self._needs_folds()
        worker = make(Scenario.HALF)
        assert list(worker.collect_done_folds()) == [], "no fold is done before setup()"
        worker.setup()
        worker.launch_submission()
        deadline = time.monotonic() + self.patience_seconds
        while not worker.collect_done_folds():
            assert time.monotonic() < deadline, "no fold is handed over, though one is done"
            assert worker.status == "running", f"one fold still runs: {worker!r}"
            worker.wait(0.05)
        done = list(worker.collect_done_folds())
        assert done == [0], f"collect_done_folds() names {done}; fold 0 is done, and stays so"
        _assert_handed_over(worker)
        assert worker.status == "running", f"one fold still runs: {worker!r}"

    def test_only_the_folds_that_are_asked_for_are_run(self, make: MakeWorker) -> None:
        """The log says which attempt has done the others."""
        self._needs_folds()
        worker = make(Scenario.GOOD)
        worker.config |= {"folds": [1], "kept_folds": {0: 7}}
        assert_success(worker, alone(worker))
        assert not fold_of(worker, 0).exists(), "fold 0 was not asked for by config['folds']"
        note = b"fold 0 is kept from attempt 7"
        assert note in log_of(worker).read_bytes(), f"the log must say {note!r} (kept_folds)"

    def _needs_folds(self) -> None:
        if Capability.FOLDS not in self.capabilities:
            pytest.skip("the worker does not declare Capability.FOLDS")


def _assert_handed_over(worker: BaseWorker) -> None:
    """See the first fold complete, and nothing of the second."""
    missing = missing_predictions(fold_of(worker, 0).parent, [0])
    assert not missing, f"fold 0 was handed over, and {missing}"
    names = {path.name for path in fold_of(worker, 0).iterdir()}
    assert {"state.txt", "train_time"} <= names, f"of fold 0 only {sorted(names)} is there"
    state = (fold_of(worker, 0) / "state.txt").read_text().strip()
    assert state == "tested", f"state.txt of a fold that is done says {state!r}, not 'tested'"
    assert not fold_of(worker, 1).exists(), "fold 1 is there, though it still runs"
