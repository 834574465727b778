"""Put memory that stays into large pages: a process that holds it is then forked sooner.

A fork copies the table of pages, an exit takes it apart: at 4 KiB a page that is most of what a
child of a warm process costs. What a child writes is still copied by 4 KiB.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

_SIZE = 2 << 20  # of a large page, where a table has 512 entries of 8 bytes
_MADV_COLLAPSE = 25  # Linux 6.1


def collapse() -> None:
    """Put the memory of this process that has no file into large pages, as far as may be.

    Notes
    -----
    Takes some 0.5 ms a MB, once. What is larger than a large page and mostly in use is not made
    larger. A kernel that does not know of it changes nothing.
    """
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with contextlib.suppress(OSError):  # no /proc
        for start, end in list(_anonymous(Path("/proc/self/maps").read_text())):
            madvise(start, end - start, _MADV_COLLAPSE)


def _anonymous(maps: str) -> Iterator[tuple[int, int]]:
    """Find the large pages' worth of private memory without a file, from `proc(5)`'s ``maps``."""
    for line in maps.splitlines():
        words = line.split()
        if words[1] != "rw-p" or words[4] != "0" or words[5:] not in ([], ["[heap]"]):
            continue
        start, end = (int(address, 16) for address in words[0].split("-"))
        start, end = -(-start // _SIZE) * _SIZE, end // _SIZE * _SIZE
        if end > start:
            yield start, end
