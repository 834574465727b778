"""A filter of system calls for a participant's code, as a classic BPF program.

Refused with EPERM are the calls that reach other processes, mounts, namespaces, keys, memory that
belongs to no process, or large parts of the kernel that computing has no use for. It is a list of
what is refused, not of what is allowed: libraries use more calls every year.

References
----------
seccomp(2); Documentation/userspace-api/seccomp_filter.rst in the kernel's source.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from . import linux

#: Numbers of refused calls on x86_64 and aarch64; None where there is no such call.
_REFUSED: dict[str, tuple[int, Optional[int]]] = {
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41),
    "mount": (165, 40), "umount2": (166, 39), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "memfd_secret": (447, 447),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "syslog": (103, 116),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "vhangup": (153, 58),
    "settimeofday": (170, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    # memory that is no process's, and so in nobody's account
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "uselib": (134, None),
}  # fmt: skip
_FILTERED: dict[str, tuple[int, int]] = {
    "socket": (41, 198), "socketpair": (53, 199), "clone": (56, 220), "clone3": (435, 435),
    "prlimit64": (302, 261), "ioctl": (16, 29), "kill": (62, 129),
}  # fmt: skip

_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020000
_PROTOCOLS = (0, socket.IPPROTO_ICMP, socket.IPPROTO_TCP, socket.IPPROTO_UDP, 58)  # ICMP of IPv6
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_EVERYBODY = 0xFFFFFFFF  # -1

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, (16, 24, 32)


@dataclass(frozen=True)
class Rules:
    """What the filter leaves besides the calls that are always allowed."""

    families: tuple[int, ...]  #: address families of sockets
    has_own_pids: bool  #: whether all processes that can be seen are a namespace's own


def restrict(rules: Rules) -> None:
    """Filter the system calls of this process and of all that it starts; irrevocable."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.set_seccomp_filter(program(rules, linux.machine()))


def program(rules: Rules, machine: str) -> bytes:
    """Return the filter as instructions of ``struct sock_filter``.

    Parameters
    ----------
    rules : Rules
        What it leaves.
    machine : str
        ``x86_64`` or ``aarch64``.
    """
    column = list(_AUDIT_ARCHITECTURE).index(machine)
    code = [
        *_load(_ARCHITECTURE),
        *_unless(_AUDIT_ARCHITECTURE[machine], _KILL),
        *_load(_NUMBER),
    ]
    if machine == "x86_64":
        code += [_instruction(_JUMP_AT_LEAST, _X32, 0, 1), _return(_error(errno.ENOSYS))]
    for name, filtered in _FILTERED.items():
        check = _CHECKS[name](rules)
        code += [_instruction(_JUMP_EQUAL, filtered[column], 0, len(check)), *check]
    for numbers in _REFUSED.values():
        number = numbers[column]
        if number is not None:
            code += [_instruction(_JUMP_EQUAL, number, 0, 1), _return(_error(errno.EPERM))]
    return b"".join([*code, _return(_ALLOW)])


def _check_socket(rules: Rules) -> list[bytes]:
    """Leave the families, and of their protocols those for which no module has to be loaded."""
    n = len(_PROTOCOLS)
    return [
        *_load(_ARGUMENT[2]),
        *(_instruction(_JUMP_EQUAL, value, n - i, 0) for i, value in enumerate(_PROTOCOLS)),
        _return(_error(errno.EPROTONOSUPPORT)),
        *_only_if_argument(0, rules.families, errno.EAFNOSUPPORT),
    ]


def _check_socketpair(_: Rules) -> list[bytes]:
    return _only_if_argument(0, (socket.AF_UNIX,), errno.EAFNOSUPPORT)


def _check_clone(_: Rules) -> list[bytes]:
    return [
        *_load(_ARGUMENT[0]),
        _instruction(_JUMP_ANY_BIT, _NEW_NAMESPACES, 0, 1),
        _return(_error(errno.EPERM)),
        _return(_ALLOW),
    ]


def _check_clone3(_: Rules) -> list[bytes]:
    """Have libraries use clone, whose flags a filter can see."""
    return [_return(_error(errno.ENOSYS))]


def _check_prlimit(_: Rules) -> list[bytes]:
    return _only_if_argument(0, (0,), errno.EPERM)  # its own limits


def _check_ioctl(_: Rules) -> list[bytes]:
    return _not_if_argument(1, _TERMINAL_INPUT, errno.EPERM)


def _check_kill(rules: Rules) -> list[bytes]:
    return _not_if_argument(0, () if rules.has_own_pids else (_EVERYBODY,), errno.EPERM)


_CHECKS = {
    "socket": _check_socket,
    "socketpair": _check_socketpair,
    "clone": _check_clone,
    "clone3": _check_clone3,
    "prlimit64": _check_prlimit,
    "ioctl": _check_ioctl,
    "kill": _check_kill,
}


def _only_if_argument(index: int, values: Iterable[int], number: int) -> list[bytes]:
    code = _load(_ARGUMENT[index])
    for value in values:
        code += [_instruction(_JUMP_EQUAL, value, 0, 1), _return(_ALLOW)]
    return [*code, _return(_error(number))]


def _not_if_argument(index: int, values: Iterable[int], number: int) -> list[bytes]:
    code = _load(_ARGUMENT[index])
    for value in values:
        code += [_instruction(_JUMP_EQUAL, value, 0, 1), _return(_error(number))]
    return [*code, _return(_ALLOW)]


def _load(offset: int) -> list[bytes]:
    return [_instruction(_LOAD, offset)]


def _unless(value: int, action: int) -> list[bytes]:
    return [_instruction(_JUMP_EQUAL, value, 1, 0), _return(action)]


def _return(action: int) -> bytes:
    return _instruction(_RETURN, action)


def _error(number: int) -> int:
    return _ERROR | number


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
