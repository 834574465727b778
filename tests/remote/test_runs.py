"""What becomes of a run when things happen to its folds; nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_engine.fold_process import FoldScratch
from ramp_engine.remote.gateway.run_log import RunLog
from ramp_engine.remote.gateway.runs import MAX_RECLAIMS, MAX_REFUSALS, Ended, Phase, Run, Verdict

TESTED = Verdict(0, {"folds": [{"fold": 0, "state": "tested"}]})
FAILED = Verdict(1, {"folds": [{"fold": 0, "state": "training_error", "error": "no"}]})
KIT = Verdict(3, {"error": {"message": "the kit"}})


def given(n_folds: int) -> Run:
    run = Run("r", list(range(n_folds)))
    for fold in run.folds.values():
        fold.phase, fold.job = Phase.GIVEN, f"job-{fold.number}"
    return run


def phases(run: Run) -> list[Phase]:
    return [fold.phase for fold in run.folds.values()]


def test_a_run_is_done_when_all_folds_are_tested() -> None:
    run = given(2)
    run.take(run.folds[1], TESTED)
    assert run.end is None
    run.take(run.folds[0], TESTED)
    assert run.end is not None
    assert (run.end.how, run.end.returncode) == (Ended.DONE, 0)


def test_the_first_failure_in_the_order_of_folds_counts() -> None:
    run = given(4)
    run.take(run.folds[3], TESTED)
    assert [fold.number for fold in run.take(run.folds[2], FAILED)] == [3]
    assert [fold.number for fold in run.take(run.folds[1], FAILED)] == [2]
    assert run.end is None, "a fold below goes on"
    run.take(run.folds[0], TESTED)
    assert run.end is not None
    assert run.end.returncode == 1
    assert [fold["state"] for fold in run.result()["folds"]] == ["tested", "training_error"]


def test_above_a_fault_of_the_kit_what_is_done_stays() -> None:
    run = given(3)
    run.take(run.folds[2], TESTED)
    assert [fold.number for fold in run.take(run.folds[0], KIT)] == [1]
    assert phases(run) == [Phase.FAILED, Phase.DROPPED, Phase.TESTED]
    assert run.end is not None
    assert run.end.returncode == 3
    assert run.result() == KIT.result


def test_a_lost_node_costs_a_fold_and_the_others_go_on() -> None:
    run = given(2)
    run.lose(run.folds[0], "power")
    assert run.end is None
    run.take(run.folds[1], TESTED)
    assert run.end is not None
    assert run.end.how is Ended.LOST
    assert "fold 0: power" in run.end.message


def test_a_loss_above_a_failure_is_no_loss() -> None:
    run = given(2)
    run.lose(run.folds[1], "power")
    run.take(run.folds[0], FAILED)
    assert run.end is not None
    assert run.end.how is Ended.DONE


def test_a_reclaimed_fold_is_begun_again_but_not_for_ever() -> None:
    run = given(1)
    fold = run.folds[0]
    for _ in range(MAX_RECLAIMS):
        assert run.reclaim(fold, "spot")
        assert run.next_fold(0.0) is fold
        fold.phase = Phase.GIVEN
    assert not run.reclaim(fold, "spot")
    assert run.end is not None
    assert run.end.how is Ended.INTERRUPTED


def test_a_fold_that_a_node_has_no_room_for_waits_longer_each_time() -> None:
    run = given(1)
    fold = run.folds[0]
    pauses = []
    for _ in range(MAX_REFUSALS):
        assert run.refuse(fold, "disk", now=100.0)
        pauses.append(fold.not_before - 100.0)
        assert run.next_fold(100.0) is None
        assert run.next_fold(fold.not_before) is fold
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1]
    assert not run.refuse(fold, "disk", now=100.0)
    assert run.end is not None
    assert run.end.how is Ended.INTERRUPTED


def test_time_counts_from_the_first_start_only() -> None:
    run = given(2)
    assert run.start(5.0)
    assert not run.start(9.0)
    assert run.started_at == 5.0


@pytest.fixture
def scratch(tmp_path: Path) -> FoldScratch:
    return FoldScratch(tmp_path, tmp_path / "tmp")


def test_logs_are_in_the_order_of_folds_and_the_lowest_is_live(scratch: FoldScratch) -> None:
    log = RunLog(scratch, [0, 1, 2])
    log.stream(1, 0, b"one ")
    log.stream(0, 0, b"zero ")
    assert scratch.log.read_bytes() == b"zero "
    log.settle(2, b"two\n", b"secret two\n")
    log.settle(0, b"zero done\n", b"secret zero\n")
    assert scratch.log.read_bytes() == b"zero done\none "
    log.stream(1, 4, b"goes on ")
    log.settle(1, b"one goes on to the end\n", b"secret one\n")
    log.finish()
    assert scratch.log.read_bytes() == b"zero done\none goes on to the end\ntwo\n"
    assert scratch.private_log.read_bytes() == b"secret zero\nsecret one\nsecret two\n"


def test_a_fold_that_is_begun_again_says_so_in_its_log(scratch: FoldScratch) -> None:
    log = RunLog(scratch, [0])
    log.stream(0, 0, b"half\n")
    log.restart(0, "spot notice")
    log.settle(0, b"whole\n", b"")
    log.finish()
    assert scratch.log.read_bytes() == b"half\nfold 0 is begun again: spot notice\nwhole\n"


def test_of_a_dropped_fold_nothing_is_in_the_log(scratch: FoldScratch) -> None:
    log = RunLog(scratch, [0, 1])
    log.stream(1, 0, b"one")
    log.drop({1})
    log.settle(0, b"zero\n", b"")
    log.stream(1, 3, b"late")
    log.finish()
    assert scratch.log.read_bytes() == b"zero\n"


def test_a_long_log_keeps_head_and_tail(scratch: FoldScratch) -> None:
    log = RunLog(scratch, [0, 1], max_bytes=1000)
    log.settle(1, b"y" * 2000 + b"tail", b"")
    log.settle(0, b"head" + b"x" * 2000, b"")
    log.finish()
    text = scratch.log.read_bytes()
    assert text.startswith(b"head")
    assert text.endswith(b"tail")
    assert b"bytes left out" in text
    assert len(text) < 1200
