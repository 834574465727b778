"""Takes a higher priority, a real-time scheduler and locked memory, and slows others down."""

import ctypes
import os
import resource

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
    for name, trial in {
        'niceness': lambda: os.setpriority(os.PRIO_PROCESS, 0, -10),
        'real time': lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)),
        'limit of niceness': lambda: resource.setrlimit(resource.RLIMIT_NICE, (40, 40)),
        'limit of real time': lambda: resource.setrlimit(resource.RLIMIT_RTPRIO, (99, 99)),
        'priority of the parent': lambda: os.setpriority(
            os.PRIO_PROCESS, os.getppid(), os.getpriority(os.PRIO_PROCESS, os.getppid())
        ),
        'processors of the parent': lambda: os.sched_setaffinity(
            os.getppid(), os.sched_getaffinity(os.getppid())
        ),
    }.items():
        try:
            trial()
        except (OSError, ValueError) as error:
            print(name, repr(error), flush=True)
        else:
            if os.getppid() != 1 or 'parent' not in name:
                print(f'STOLEN could set {name}', flush=True)
    if call(251, 30, 1, 0, 1 << 13) >= 0:  # ioprio_set, real time
        print('STOLEN could set the priority of input and output', flush=True)
    if LIBC.mlockall(2) == 0 and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] > 1 << 30:
        LIBC.munlockall()
        print('STOLEN could lock all memory', flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
