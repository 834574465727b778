"""Takes back every limit that it was given."""

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
    for name in sorted(name for name in dir(resource) if name.startswith('RLIMIT_')):
        number = getattr(resource, name)
        soft, hard = resource.getrlimit(number)
        if hard == resource.RLIM_INFINITY:
            continue
        for wanted in (resource.RLIM_INFINITY, hard + 1):
            try:
                resource.setrlimit(number, (soft, wanted))
                print(f'STOLEN could raise {name}', flush=True)
                resource.setrlimit(number, (soft, hard))
            except (OSError, ValueError) as error:
                print(name, repr(error), flush=True)
        try:
            resource.prlimit(os.getppid(), number, resource.prlimit(os.getppid(), number))
            print(f'STOLEN could set {name} of its parent', flush=True)
        except OSError as error:
            print(name, repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
