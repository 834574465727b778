"""System calls that the standard library does not offer, on x86_64 and aarch64.

Each raises `OSError` when the kernel refuses. See the man page of the same name.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from typing import Optional, Union

_LIBC = ctypes.CDLL(None, use_errno=True)
_Argument = Union[int, bytes, None]

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE, MS_SLAVE = 2, 4, 8, 1 << 14, 1 << 18, 1 << 19

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47

CAP_SYS_ADMIN = 21

# Numbers that are the same on every architecture, since Linux 5.1.
_OPEN_TREE, _MOVE_MOUNT, _CLOSE_RANGE, _MOUNT_SETATTR = 428, 429, 436, 442
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_AT_FDCWD = -100
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
_MNT_DETACH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def machine() -> str:
    """Return the architecture.

    Raises
    ------
    OSError
        It is neither x86_64 nor aarch64.
    """
    name = os.uname().machine
    if name not in _PIVOT_ROOT:
        raise OSError(f"the architecture {name} is not supported")
    return name


def syscall(number: int, *arguments: _Argument) -> int:
    """Make a system call by its number; integers are passed as long."""
    passed = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(number), *passed))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


def prctl(option: int, first: int = 0, second: int = 0) -> None:
    """Change something about the calling process."""
    words = [ctypes.c_ulong(word) for word in (first, second, 0, 0)]
    _checked(_LIBC.prctl(option, *words))


def set_seccomp_filter(program: bytes) -> None:
    """Install a filter of system calls; instructions as of ``struct sock_filter``."""
    instructions = ctypes.create_string_buffer(program, len(program))
    address = ctypes.addressof(instructions)
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, address))
    prctl(PR_SET_SECCOMP, 2, ctypes.addressof(header))


def unshare(flags: int) -> None:
    """Leave namespaces for new ones."""
    _checked(_LIBC.unshare(flags))


def join(namespace: int, kind: int) -> None:
    """Join a namespace, given by a descriptor of a file such as ``/proc/PID/ns/pid``."""
    _checked(_LIBC.setns(namespace, kind))


def mount(source: Optional[str], target: str, kind: Optional[str], flags: int, data: str) -> None:
    """Mount a file system."""
    names = [name if name is None else os.fsencode(name) for name in (source, target, kind)]
    _checked(_LIBC.mount(*names, ctypes.c_ulong(flags), data.encode()))


def clone_tree(path: str, directory: int = _AT_FDCWD) -> int:
    """Return a descriptor of a copy of the mounts at a path, attached nowhere."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    return syscall(_OPEN_TREE, directory, os.fsencode(path), flags)


def set_tree_attributes(tree: int, attributes: int) -> None:
    """Add attributes (``MOUNT_ATTR_...``) to every mount of a tree."""
    words = struct.pack("4Q", attributes, 0, 0, 0)
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE
    syscall(_MOUNT_SETATTR, tree, b"", flags, words, len(words))


def set_mount_attributes(path: str, attributes: int) -> None:
    """Add attributes to one mount, not to those below it."""
    words = struct.pack("4Q", attributes, 0, 0, 0)
    syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), 0, words, len(words))


def attach_tree(tree: int, mount_point: int) -> None:
    """Attach a tree at the place that a descriptor stands for."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    syscall(_MOVE_MOUNT, tree, b"", mount_point, b"", flags)


def change_root() -> None:
    """Make the working directory the root, and leave the old root behind for good."""
    syscall(_PIVOT_ROOT[machine()], b".", b".")  # the old root then lies over the new one
    _checked(_LIBC.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def drop_bounding_set(kept: int = 0) -> None:
    """Give up for good every capability but those of a mask; needs CAP_SETPCAP."""
    for capability in range(64):
        if kept >> capability & 1:
            continue
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL and capability > CAP_SYS_ADMIN:
                return  # the kernel knows no more of them
            raise


def has_capabilities() -> bool:
    """Return whether this process has any capability in effect."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    words = ctypes.create_string_buffer(24)
    _checked(_LIBC.capget(header, words))
    low, _, _, high, _, _ = struct.unpack("6I", words.raw)
    return bool(low or high)


def set_capabilities(kept: int = 0) -> None:
    """Keep only the capabilities of a mask, and pass none on."""
    prctl(PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    _checked(_LIBC.capset(header, struct.pack("6I", low, low, 0, high, high, 0)))


def close_range(first: int, last: int) -> None:
    """Close the descriptors from one to another, both included."""
    syscall(_CLOSE_RANGE, first, last, 0)


def raise_loopback() -> None:
    """Bring up ``lo`` in a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))
