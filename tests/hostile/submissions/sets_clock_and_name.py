"""Sets the clock and the name of the machine, to what they are."""

import ctypes
import os
import time

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


def attack():
    name = os.uname().nodename.encode()
    if LIBC.sethostname(name, len(name)) == 0:
        print('STOLEN could name the machine', flush=True)
    if LIBC.setdomainname(b'(none)', 6) == 0 and os.uname().nodename != 'ramp':
        print('STOLEN could name the domain', flush=True)
    now = (ctypes.c_long * 2)(int(time.time()), 0)
    if call(227, 112, 99, now) not in (-1, -38):  # a clock that does not exist
        print('STOLEN could reach clock_settime', flush=True)
    if call(170, 170, None, None) not in (-1, -38):
        print('STOLEN could reach settimeofday', flush=True)
    if call(159, 171, None) not in (-1, -38):
        print('STOLEN could reach adjtimex', flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
