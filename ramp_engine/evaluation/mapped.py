"""Files of a bundle as memory that is shared by all processes that read them.

A file is mapped copy-on-write: whoever changes an array has pages of his own from then on, and the
file stays as it is. Processes with no common ancestor share one copy, in the page cache. No
descriptor stays open, as the `mmap` of the standard library would keep one.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

#: Smaller parts of a pickle stay in it [bytes].
_LEAST = 1 << 16
#: Where a part may begin: as numpy allocates its arrays, at least [bytes].
_ALIGNMENT = 64
#: Have all pages there at once, as if the file had been read. Named by Python since 3.10.
_MAP_POPULATE = 0x8000

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_size_t]
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def map_file(path: Path) -> memoryview:
    """Map a file that is not empty; what is written to the memory does not reach it.

    Parameters
    ----------
    path : Path
        Never truncated while it is in use: what is missing then ends the process. It may be
        removed.

    Raises
    ------
    OSError
        The kernel refuses.
    """
    with path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        flags = mmap.MAP_PRIVATE | _MAP_POPULATE
        address = _LIBC.mmap(None, n_bytes, mmap.PROT_READ, flags, file.fileno(), 0)
    # only now: what is populated while it may be written to is copied
    writable = mmap.PROT_READ | mmap.PROT_WRITE
    if address == _FAILED or _LIBC.mprotect(address, n_bytes, writable):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    memory = (ctypes.c_char * n_bytes).from_address(address)
    weakref.finalize(memory, _LIBC.munmap, address, n_bytes).atexit = False
    return memoryview(memory).cast("B")


def load_array(path: Path) -> Any:
    """Map the array of a ``.npy`` file.

    Raises
    ------
    ValueError
        The file is no ``.npy``, or is cut off, or holds objects.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:  # fields with names that are not ASCII
            return np.load(path, allow_pickle=False)
        shape, is_fortran, dtype = _HEADERS[version](file)
        start = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{path} holds pickled objects")
    order: Any = "F" if is_fortran else "C"
    try:
        return np.ndarray(shape, dtype, buffer=map_file(path), offset=start, order=order)
    except TypeError as error:  # the buffer is too small
        raise ValueError(f"{path} is cut off: {error}") from error


def writer(file: BinaryIO) -> Callable[[Any], bool]:
    """Give what takes the large parts out of a pickle (`pickle`, `buffer_callback`).

    Parameters
    ----------
    file : binary file
        Each part follows its length, eight bytes, at the next place to begin.
    """

    def take(buffer: pickle.PickleBuffer) -> bool:
        """Write a part that is large; tell whether it stays in the pickle."""
        part = buffer.raw()
        if part.nbytes < _LEAST:
            return True
        for content in (part.nbytes.to_bytes(8, "little"), part):
            file.write(bytes(-file.tell() % _ALIGNMENT))
            file.write(content)
        return False

    return take


def parts(path: Path) -> Iterator[memoryview]:
    """Map the parts of a pickle that `writer` has written, in their order."""
    if not path.exists():
        return
    memory, start = map_file(path), 0
    while start < len(memory):
        n_bytes = int.from_bytes(memory[start : start + 8], "little")
        start += _ALIGNMENT
        yield memory[start : start + n_bytes]
        start += n_bytes + -n_bytes % _ALIGNMENT
