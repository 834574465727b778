"""Who uses more than is allowed is stopped as a whole, and told of what it was too much."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.hostile.harness import Arena


@dataclass(frozen=True)
class Case:
    """A submission, what it may use, and what must hold."""

    name: str
    limits: dict[str, float]
    limit: str  #: the verdict
    says: str  #: what the participant is told: an expression for the whole first line
    state: str = "training_error"


CASES = [
    Case(
        "memory_in_one_process",
        {"memory_mb": 400},
        "memory",
        r"out of memory: [\d.]+ MB of 400 MB in fold 0, training",
    ),
    Case(
        "memory_in_ten_processes",
        {"memory_mb": 1024},
        "memory",
        r"out of memory: [\d.]+ GB of 1 GB in fold 0, training",
    ),
    Case(
        "memory_while_testing",
        {"memory_mb": 400},
        "memory",
        r"out of memory: [\d.]+ MB of 400 MB in fold 0, predicting the test data",
        "testing_error",
    ),
    Case(
        "fork_bomb",
        {"processes": 32},
        "processes",
        r"too many processes: \d+ of 32 in fold 0, training",
    ),
    Case(
        "daemons",
        {"processes": 32},
        "processes",
        r"too many processes: \d+ of 32 in fold 0, training",
    ),
    Case(
        "thread_bomb",
        {"threads": 500},
        "threads",
        r"too many threads: \d+ of 500 in fold 0, training",
    ),
    Case(
        "large_file",
        {"file_mb": 64},
        "file_mb",
        "a file is too large: 64 MB of 64 MB in fold 0, training",
    ),
    Case(
        "much_output",
        {"output_mb": 50},
        "output_mb",
        r"too much output: [\d.]+ MB of 50 MB in fold 0, training",
    ),
    Case(
        "much_output_at_the_end",
        {"output_mb": 50},
        "output_mb",
        r"too much output: [\d.]+ MB of 50 MB in fold 0, .+",
        "testing_error",
    ),
    Case(
        "hidden_files",
        {"output_mb": 50},
        "output_mb",
        r"too much output: [\d.]+ MB of 50 MB in fold 0, training",
    ),
    Case(
        "many_files",
        {"n_files": 5000},
        "n_files",
        r"too many files: \d+ of 5000 in fold 0, training",
    ),
    Case(
        "deep_folders",
        {"n_files": 5000},
        "path_length",
        r"a path is too long: \d+ bytes of \d+ bytes in fold 0, training",
    ),
    Case(
        "sleeps",
        {"fold_seconds": 3},
        "fold_seconds",
        r"out of time: [\d.]+ s of 3 s in fold 0, training",
    ),
    Case(
        "sleeps_while_testing",
        {"fold_seconds": 5},
        "fold_seconds",
        r"out of time: [\d.]+ s of 5 s in fold 0, predicting the test data",
        "testing_error",
    ),
    Case(
        "busy",
        {"cpu_seconds": 2},
        "cpu_seconds",
        r"out of CPU time: [\d.]+ s of 2 s in fold 0, training",
    ),
    Case(
        "busy_in_processes",
        {"cpu_seconds": 2},
        "cpu_seconds",
        r"out of CPU time: [\d.]+ s of 2 s in fold 0, training",
    ),
    Case(
        "busy_as_an_orphan",
        {"cpu_seconds": 3},
        "cpu_seconds",
        r"out of CPU time: [\d.]+ s of 3 s in fold 0, training",
    ),
    Case(
        "busy_without_trace",
        {"cpu_seconds": 3},
        "cpu_seconds",
        r"out of CPU time: [\d.]+ s of 3 s in fold 0, training",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_exceeds_a_limit_is_ended_and_told(case: Case, arena: Arena) -> None:
    aftermath = arena.run(case.name, case.limits)
    assert (aftermath.code, aftermath.last["state"]) == (1, case.state)
    assert aftermath.limit == case.limit
    limit = aftermath.last["limit"]
    assert limit["figure"] >= limit["allowed"]
    first = aftermath.last["error"].splitlines()[0]
    assert re.fullmatch(case.says, first), first
    assert first.encode() in aftermath.log
    assert aftermath.survivors == []


def test_a_file_that_is_too_large_is_found_by_its_line(arena: Arena) -> None:
    aftermath = arena.run("large_file", {"file_mb": 64})
    assert 'File "estimator.py", line' in aftermath.last["error"]
    assert "File too large" in aftermath.last["error"]


def test_a_program_of_theirs_is_held_to_the_size_of_a_file(arena: Arena) -> None:
    aftermath = arena.run("large_file_by_a_program", {"file_mb": 64})
    assert aftermath.last["state"] == "tested"
    (large,) = aftermath.output.parent.glob("work/fold_0/large")
    assert large.stat().st_size == 64 << 20


def test_a_figure_of_memory_is_near_its_limit(arena: Arena) -> None:
    aftermath = arena.run("memory_in_one_process", {"memory_mb": 400})
    assert 400 <= aftermath.last["limit"]["figure"] < 2048
    assert aftermath.last["peak_memory_mb"] > 300


def test_memory_shared_with_the_parent_is_not_the_participants(large_arena: Arena) -> None:
    aftermath = large_arena.run("five_modest_processes", {"memory_mb": 600})
    assert aftermath.code == 0, aftermath.last
    assert aftermath.last["peak_memory_mb"] < 600


def test_memory_counts_beside_a_large_parent(large_arena: Arena) -> None:
    aftermath = large_arena.run("memory_in_one_process", {"memory_mb": 400})
    assert aftermath.limit == "memory"
    assert 400 <= aftermath.last["limit"]["figure"] < 2048


def test_a_long_log_costs_no_more_than_its_limit_and_fails_nothing(arena: Arena) -> None:
    aftermath = arena.run("long_log", {"log_mb": 2})
    assert (aftermath.code, aftermath.limit) == (0, "")
    for log in (aftermath.log, aftermath.private_log):
        assert len(log) <= (2 << 20) + 100
        assert len(re.findall(rb"\n\[\.\.\. \d+ bytes left out \.\.\.\]\n", log)) == 1
    assert aftermath.log.startswith(b"CV fold 0\nthe beginning\n")
    assert aftermath.log.endswith(b"the end\n")
    assert aftermath.private_log.endswith(b"the private end\n")


def test_limits_that_are_not_reached_change_nothing(arena: Arena) -> None:
    limits = {
        "fold_seconds": 200, "cpu_seconds": 200, "memory_mb": 4096, "processes": 64, "threads": 256,
        "file_mb": 64, "output_mb": 64, "n_files": 1000, "log_mb": 1, "open_files": 256,
    }  # fmt: skip
    aftermath = arena.run("five_modest_processes", limits)
    assert [fold["state"] for fold in aftermath.folds] == ["tested", "tested"]
    assert aftermath.limit == ""
