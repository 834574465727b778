"""How the process of a dispatcher comes by its memory, and gives it back.

A dispatcher has a thread for each run, and lives for months. What the C library and Python do by
default suits neither: memory that was of use once is kept in many places.
"""

from __future__ import annotations

import ctypes

__all__ = ["give_back_early"]

#: Numbers of glibc's parameters, from its ``malloc.h``.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
#: From this size on a block has pages of its own, which are given back with it, in bytes.
LARGE_BLOCK = 256 << 10


def give_back_early() -> bool:
    """Have the C library keep one heap, and give large blocks back when they are freed.

    By default each new thread may get a heap of its own, up to eight for each core, of which every
    one keeps its peak; and the size from which blocks are given back rises with those that are.

    Returns
    -------
    bool
        Whether it does; not where the C library is another than glibc.

    Notes
    -----
    Threads that run Python hold the interpreter's lock while they allocate, so that one heap makes
    none wait. Call it before there are threads: heaps that they have are kept.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    is_one: bool = mallopt(_M_ARENA_MAX, 1) == 1
    is_early: bool = mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK) == 1
    return is_one and is_early
