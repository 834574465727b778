"""The file system that a participant's code sees: a root of its own with little in it.

Built in new mount and pid namespaces by a process that holds CAP_SYS_ADMIN over them. Mounts are
copied before anything is mounted, so that it does not matter what lies below what.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Optional

from . import linux
from .diagnosis import step
from .plan import Confinement, ConfinementError

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/etc/alternatives", "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/fonts", "/etc/mime.types",
)  # fmt: skip
_ETC_OF_NETWORKS = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/services", "/etc/protocols", "/etc/gai.conf",
    "/etc/host.conf", "/etc/ca-certificates", "/etc/pki/ca-trust",
)  # fmt: skip
#: What joblib and OpenMP look at to count processors.
PROCESSORS = (
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup/cpu.max",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us",
)  # fmt: skip
#: File systems of the new root that are memory; each may be written to.
IN_MEMORY = ("/tmp", "/dev/shm")  # noqa: S108  of the new root, empty and its own
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_DEVICE_LINKS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
#: Of no use to a computation, and of some to an attack.
_MASKED = (
    "kcore", "keys", "key-users", "kmsg", "kallsyms", "kpagecount", "kpageflags", "kpagecgroup",
    "timer_list", "sched_debug", "latency_stats", "interrupts", "sysrq-trigger", "cmdline",
)  # fmt: skip

#: What is written there changes the kernel, and not the process that writes.
_OF_THE_KERNEL = ("acpi", "bus", "driver", "fs", "irq", "scsi", "sys", "sysvipc", "tty", "mtrr")

_NEW_ROOT = "/tmp"  # noqa: S108 (only a place to mount on, in a namespace of its own)
_MAX_FILES = 200_000  # in a tmpfs; each takes about 1 kB of the kernel's memory
_SAFE = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
_READ_ONLY = linux.MOUNT_ATTR_RDONLY | _SAFE
_DEVICE = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC


@dataclass(frozen=True)
class _Bind:
    source: str
    target: str
    attributes: int


@dataclass(frozen=True)
class Hidden:
    """What is attached at the release: copies of mounts, and descriptors of their places."""

    trees: tuple[tuple[int, int], ...]  #: (tree, place)

    def release(self) -> None:
        """Attach everything, read-only."""
        for tree, place in self.trees:
            linux.attach_tree(tree, place)
            os.close(tree)
            os.close(place)


def system_files(*, allow_network: bool) -> tuple[str, ...]:
    """Return the paths of the system that are shown read-only; not each exists everywhere."""
    return (*_SYSTEM, *_ETC, *(_ETC_OF_NETWORKS if allow_network else ()), *PROCESSORS)


def build(plan: Confinement) -> tuple[Hidden, int]:
    """Make the new root and leave the old one; the working directory is the new root then.

    To be called by pid 1 of a new pid namespace, in a mount namespace of its own.

    Parameters
    ----------
    plan : Confinement
        What is shown.

    Returns
    -------
    Hidden
        What is not shown yet.
    int
        Descriptor of a ``/proc`` that may be written; that of the new root may not.

    Raises
    ------
    ConfinementError
        Something was refused or does not exist. Nothing outside the namespace has changed.
    """
    with _umask(0o022):
        with step("make mounts private"):
            linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE, "")
        binds = _needed(
            [
                *_system_binds(plan),
                *_binds(plan.read, _READ_ONLY),
                *_binds(plan.devices, _DEVICE),
                *_binds(plan.write, _SAFE),
            ]
        )
        released = _needed(_binds(plan.released, _READ_ONLY))
        copies = [(_copy(bind), bind) for bind in binds]
        hidden = [(_copy(bind), bind) for bind in released]
        _mount_tmpfs("", "mode=0755,size=4m")
        with step("fill the new root"):
            _fill(plan)
        for tree, bind in copies:
            _attach(tree, bind)
        places = [_hide(tree, bind.target) for tree, bind in hidden]
        proc = _mount_proc(may_write_own=bool(plan.devices))
        with step("change the root"):
            os.chdir(_NEW_ROOT)
            linux.change_root()
            linux.set_mount_attributes("/", _READ_ONLY)
    trees = [tree for tree, _ in hidden]
    return Hidden(tuple(zip(trees, places))), proc  # noqa: B905 (Python 3.9 has no strict=)


def _system_binds(plan: Confinement) -> list[_Bind]:
    paths = [path for path in system_files(allow_network=plan.allow_network) if Path(path).exists()]
    shown = [_Bind(os.path.realpath(path), path, _READ_ONLY) for path in paths if not _link(path)]
    return [*shown, *(_Bind(path, path, _DEVICE) for path in DEVICES)]


@lru_cache(maxsize=None)
def _link(path: str) -> str:
    """Return where a link of the system leads to, if that is shown; else nothing."""
    is_shown = Path(path).is_symlink() and os.path.realpath(path).startswith("/usr/")
    return str(Path(path).readlink()) if is_shown else ""


def _binds(paths: Iterable[str], attributes: int) -> list[_Bind]:
    """Show paths under their names, and where links in them lead to."""
    found = []
    for path in paths:
        real = os.path.realpath(path)
        name = os.path.abspath(path)  # noqa: PTH100 (links are kept)
        if real == "/":
            raise ConfinementError("the root of the file system cannot be shown", "Name a folder")
        with step("find what is to be shown"):
            is_device = stat.S_ISCHR(Path(real).stat().st_mode)
        found += [
            _Bind(real, target, _DEVICE if is_device else attributes) for target in {real, name}
        ]
    return found


def _needed(binds: Iterable[_Bind]) -> list[_Bind]:
    """Leave out what is shown already, and put what lies above first."""
    kept: dict[str, _Bind] = {}
    for bind in sorted(binds, key=lambda bind: bind.target.count("/")):
        above = _above(bind.target, kept)
        is_alias = bind.source != bind.target
        if above and (is_alias or above.attributes == bind.attributes):
            continue
        if is_alias and any(_link(path) and _is_below(bind.target, path) for path in _SYSTEM):
            continue
        kept[bind.target] = bind
    return list(kept.values())


def _above(target: str, binds: dict[str, _Bind]) -> Optional[_Bind]:
    """Return the deepest bind that a path lies below."""
    found = [bind for name, bind in binds.items() if _is_below(target, name)]
    return max(found, key=lambda bind: len(bind.target), default=None)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder + "/")


def _copy(bind: _Bind) -> int:
    with step(f"show {bind.source}"):
        tree = linux.clone_tree(bind.source)
        linux.set_tree_attributes(tree, bind.attributes)
        return tree


def _attach(tree: int, bind: _Bind) -> None:
    with step(f"show {bind.target}"):
        place = _make_place(bind.target, _is_folder(tree))
        linux.attach_tree(tree, place)
        os.close(place)
        os.close(tree)


def _make_place(target: str, is_folder: bool) -> int:
    """Make what is mounted on, unless it lies in what is shown already; give its descriptor."""
    path = Path(_NEW_ROOT + target)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_folder:
            path.mkdir()
        else:
            path.touch()
    return _open_place(target)


def _is_folder(tree: int) -> bool:
    return stat.S_ISDIR(os.fstat(tree).st_mode)


def _open_place(target: str) -> int:
    path = _NEW_ROOT + target
    return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)


def _hide(tree: int, target: str) -> int:
    """Return a descriptor of the empty place at which something appears later."""
    with step(f"hide {target}"):
        os.close(_make_place(target, _is_folder(tree)))
        if _is_folder(tree):
            _mount_tmpfs(target, "mode=0755,size=4k")
            linux.set_mount_attributes(_NEW_ROOT + target, _READ_ONLY)
        else:
            _mask(target)
        return _open_place(target)


def _mount_tmpfs(target: str, options: str) -> None:
    with step(f"mount a tmpfs on {target or '/'}"):
        flags = linux.MS_NOSUID | linux.MS_NODEV
        linux.mount("tmpfs", _NEW_ROOT + target, "tmpfs", flags, options)


def _fill(plan: Confinement) -> None:
    """Make what is neither bound nor mounted by the kernel."""
    root = Path(_NEW_ROOT)
    for folder in ("proc", "dev/shm", "etc", "tmp"):
        (root / folder).mkdir(parents=True)
    for path in (*_SYSTEM, *_ETC):
        if _link(path):
            (root / path[1:]).symlink_to(_link(path))
    for name, end in _DEVICE_LINKS.items():
        (root / "dev" / name).symlink_to(f"/proc/self/fd{end}")
    for name, text in _accounts(plan).items():
        (root / "etc" / name).write_text(text)
    for folder in IN_MEMORY:
        size = f"mode=1777,size={plan.tmp_mb}m,nr_inodes={_MAX_FILES}"
        _mount_tmpfs(folder, size)


def _accounts(plan: Confinement) -> dict[str, str]:
    """Return the files that name users and hosts: none of the machine's own."""
    uid = os.getuid() if plan.uid is None else plan.uid
    gid = os.getgid() if plan.gid is None else plan.gid
    files = {
        "passwd": f"ramp:x:{uid}:{gid}:ramp:/tmp:/bin/sh\n",
        "group": f"ramp:x:{gid}:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    if not plan.allow_network:
        files["hosts"] = "127.0.0.1 localhost ramp\n::1 localhost\n"
    return files


def _mount_proc(*, may_write_own: bool) -> int:
    """Mount a ``/proc`` of the new pids; give a descriptor of one that may be written.

    Parameters
    ----------
    may_write_own : bool
        Whether processes may write what is about themselves, such as the names of their threads:
        drivers of GPUs fail without. What is the kernel's is read-only in any case.
    """
    proc = f"{_NEW_ROOT}/proc"
    with step("mount /proc"):
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("proc", proc, "proc", flags, "hidepid=2")
        writable = linux.clone_tree(proc)
    for name in _MASKED:
        if Path(proc, name).exists():
            _mask(f"/proc/{name}")
    if may_write_own:
        _protect_kernel(proc)
        return writable
    with step("protect /proc"):
        linux.set_mount_attributes(proc, _READ_ONLY)
    return writable


def _protect_kernel(proc: str) -> None:
    for name in _OF_THE_KERNEL:
        if Path(proc, name).exists():
            bind = _Bind(f"{proc}/{name}", f"/proc/{name}", _READ_ONLY)
            _attach(_copy(bind), bind)


def _mask(target: str) -> None:
    _attach(_copy(_Bind("/dev/null", "/dev/null", _DEVICE)), _Bind("/dev/null", target, _DEVICE))


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
