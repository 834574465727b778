"""What a dispatcher does to keep its memory where it is: seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAPS = """
import ctypes, threading
{first}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
places, barrier = [], threading.Barrier(4)

def allocate():
    places.append(libc.malloc(1000))
    barrier.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len({{place >> 26 for place in places}}))
"""


def told(program: str) -> int:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a parameter of glibc")
def test_threads_share_one_heap() -> None:
    keep = "from ramp_engine.allocation import give_back_early; assert give_back_early()"
    assert told(HEAPS.format(first="")) > 1
    assert told(HEAPS.format(first=keep)) == 1


MODULES = """
import gc
from contextlib import nullcontext
from ramp_engine.evaluation.preload import uncollected
with {block}():
    import ramp_engine.dispatcher
print(len(gc.get_objects()))
"""


def test_the_garbage_collector_does_not_look_through_what_is_loaded() -> None:
    loaded = told(MODULES.format(block="nullcontext"))
    assert told(MODULES.format(block="uncollected")) < loaded / 10
