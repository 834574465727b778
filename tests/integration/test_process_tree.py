"""What the processes of a fold use, as /proc tells it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: Holds 200 MB that its children share; one of them watches a child of its own, which takes 100 MB
#: and may copy 100 MB of the others.
FAMILY = """
import json, os, sys
from ramp_engine.evaluation.process_tree import ProcessTree
n_others, copies = json.loads(sys.argv[1])
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
    command = [sys.executable, "-c", FAMILY, json.dumps([n_others, copies])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert least <= int(done.stdout) <= most
