"""What the processes of a fold use, as /proc tells it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: Holds 200 MB that its children share; one of them watches a child of its own, which takes 100 MB
#: and may copy 100 MB of the others, start programs, and, where it is not root's, be closed to all.
FAMILY = """
import json, os, subprocess, sys
from ramp_engine.evaluation import linux
from ramp_engine.evaluation.process_tree import ProcessTree
n_others, copies, n_helpers, hides = json.loads(sys.argv[1])
if hides and os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
ballast = bytearray(b"x") * (200 << 20)
until, end = os.pipe()
for _ in range(n_others):
    if os.fork() == 0:
        os.close(end)
        os.read(until, 1)
        os._exit(0)
watcher = os.fork()
if watcher == 0:
    tree = ProcessTree()
    has_grown, grown = os.pipe()
    if os.fork() == 0:
        os.close(end)
        taken = b"y" * (100 << 20)
        if copies:
            ballast[: 100 << 20 : 4096] = b"z" * (100 << 8)
        for _ in range(n_helpers):
            subprocess.Popen(["cat"], stdin=until)
        if hides:
            linux.prctl(linux.PR_SET_DUMPABLE, 0)
        os.write(grown, b"g")
        os.read(until, 1)
        os._exit(0)
    os.read(has_grown, 1)
    print(tree.own_bytes(tree.pids()) >> 20, flush=True)
    os._exit(0)
os.waitpid(watcher, 0)
"""


@pytest.mark.parametrize(
    ("n_others", "copies", "least", "most"),
    [(0, False, 95, 130), (0, True, 140, 230), (6, False, 95, 130), (6, True, 170, 230)],
)
def test_memory_that_others_share_is_not_the_folds_and_hides_none_of_it(
    n_others: int, copies: bool, least: int, most: int
) -> None:
    assert least <= _own_megabytes(n_others, copies=copies) <= most


def test_helpers_with_little_memory_do_not_hide_that_of_who_started_them() -> None:
    assert 75 <= _own_megabytes(6, n_helpers=20) <= 130


def test_who_lets_nobody_look_is_counted_beside_a_helper_who_does() -> None:
    assert 95 <= _own_megabytes(0, n_helpers=1, hides=True) <= 130


def _own_megabytes(
    n_others: int, *, copies: bool = False, n_helpers: int = 0, hides: bool = False
) -> int:
    arguments = json.dumps([n_others, copies, n_helpers, hides])
    command = [sys.executable, "-c", FAMILY, arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
