"""Machines that refuse something: a filter of system calls, set by code for another process."""

from __future__ import annotations

import struct

from ramp_engine.evaluation import linux

UNSHARE = {"x86_64": 272, "aarch64": 97}[linux.machine()]
#: Of Landlock; the same number on every machine.
CREATE_RULESET = 444


def filtering(refused: dict[int, int]) -> str:
    """Return code that refuses system calls, by number, with an error number."""
    program = struct.pack("HBBI", 0x20, 0, 0, 0)
    for number, error in refused.items():
        program += struct.pack("HBBI", 0x15, 0, 1, number)
        program += struct.pack("HBBI", 0x06, 0, 0, 0x50000 | error)
    program += struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
    return f"""
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
program = {program!r}
buffer = ctypes.create_string_buffer(program, len(program))
header = ctypes.create_string_buffer(
    struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer)))
zero = ctypes.c_ulong(0)
assert libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0
assert libc.prctl(22, ctypes.c_ulong(2), ctypes.c_ulong(ctypes.addressof(header)), zero, zero) == 0
"""
