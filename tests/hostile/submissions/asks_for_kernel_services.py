"""Asks the kernel for keys, programs, counters, rings, modules: by calls that do nothing."""

import ctypes
import os

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


REFUSED = (-1, -38)  # EPERM, ENOSYS

CALLS = {
    'keyctl': (250, 219, 0, -3, 0),
    'add_key': (248, 217, b'user', b'ramp', b'x', 1, -2),
    'request_key': (249, 218, b'user', b'ramp', None, 0),
    'bpf': (321, 280, 5, None, 0),
    'perf_event_open': (298, 241, None, 0, -1, -1, 0),
    'userfaultfd': (323, 282, 1 << 20),
    'io_uring_setup': (425, 425, 1, None),
    'io_uring_enter': (426, 426, -1, 0, 0, 0, None, 0),
    'io_uring_register': (427, 427, -1, 99, None, 0),
    'init_module': (175, 105, None, 0, None),
    'finit_module': (313, 273, -1, None, 0),
    'delete_module': (176, 106, b'', 0x800),
    'kexec_load': (246, 104, 0, 0, None, 0xDEAD),
    'kexec_file_load': (320, 294, -1, -1, 0, None, 0),
    'process_madvise': (440, 440, -1, None, 0, 0, 0),
    'memfd_secret': (447, 447, 0xDEAD),
    'fanotify_init': (300, 262, 0xDEAD, 0),
    'syslog': (103, 116, 10, None, 0),
    'migrate_pages': (256, 238, 0, 0, None, None),
    'move_pages': (279, 239, 0, 0, None, None, None, 0),
    'quotactl': (179, 60, 0xDEAD, None, 0, None),
    'swapon': (167, 224, None, 0),
    'acct': (163, 89, b'/nonexistent/file'),
    'lookup_dcookie': (212, 18, 0, None, 0),
    'reboot': (169, 142, 1, 2, 3, None),
    'iopl': (172, None, 0),
    'ioperm': (173, None, 0, 1, 0),
    'modify_ldt': (154, None, 0, None, 0),
    'open_by_handle_at': (304, 265, -100, None, 0),
    'open_tree_attr': (467, 467, -1, b'', 0, None, 0),
}


def attack():
    for name, (x86_64, aarch64, *arguments) in CALLS.items():
        result = call(x86_64, aarch64, *arguments)
        if result not in REFUSED:
            print(f'STOLEN could reach {name}: {result}', flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
