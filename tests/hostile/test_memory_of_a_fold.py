"""What of the watch over memory cannot be seen through a dispatcher: beside a large parent."""

from __future__ import annotations

from tests.hostile.harness import Arena


def test_memory_shared_with_the_parent_is_not_the_participants(large_arena: Arena) -> None:
    aftermath = large_arena.run("five_modest_processes", {"memory_mb": 600})
    assert aftermath.code == 0, aftermath.last
    assert aftermath.last["peak_memory_mb"] < 600


def test_memory_counts_beside_a_large_parent(large_arena: Arena) -> None:
    aftermath = large_arena.run("memory_in_one_process", {"memory_mb": 400})
    assert aftermath.limit == "memory"
    assert 400 <= aftermath.last["limit"]["figure"] < 2048
    assert aftermath.last["peak_memory_mb"] > 300
