"""What a machine looks like: compared before and after the hostile set."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.acceptance.deployment import processes_of

#: A larger file is known by its size and its time, in bytes.
_MAX_READ = 32 << 20
#: What would be worth changing, below /proc/sys.
_SETTINGS = ("kernel/core_pattern", "kernel/hostname", "kernel/modprobe", "fs/file-max")
#: Kinds of System V objects, and what ``ipcrm`` calls them.
_IPC = {"shm": "shmem", "sem": "semaphore", "msg": "queue"}
#: Where everybody may make files.
_COMMON_PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock")


def files_of(*roots: Path) -> dict[str, str]:
    """Describe all files and folders: kind and mode, owner, size, content."""
    return {str(path): _described(path) for root in roots for path in _walk(root)}


def listing_of(root: Path) -> dict[str, str]:
    """Describe files by what the file system says of them; for many files."""
    found = {}
    for path in _walk(root):
        facts = path.lstat()
        if not stat.S_ISDIR(facts.st_mode) or "__pycache__" not in path.parts:
            found[str(path)] = (
                f"{facts.st_mode:o} {facts.st_uid} {facts.st_size} {facts.st_mtime_ns}"
            )
    return found


def _walk(root: Path) -> Iterator[Path]:
    yield root
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            yield Path(folder, name)


def _described(path: Path) -> str:
    facts = path.lstat()
    content = ""
    if stat.S_ISREG(facts.st_mode):
        whole = facts.st_size <= _MAX_READ
        content = hashlib.sha256(path.read_bytes()).hexdigest() if whole else str(facts.st_mtime_ns)
    elif stat.S_ISLNK(facts.st_mode):
        content = str(path.readlink())
    return f"{facts.st_mode:o} {facts.st_uid} {content}"


def settings_of_the_machine() -> dict[str, str]:
    """Read what root alone may change, and nobody does while tests run."""
    paths = [Path("/proc/sys", name) for name in _SETTINGS]
    found = {str(path): path.read_text() for path in paths if path.exists()}
    found["mounts"] = "\n".join(
        sorted(
            line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()
        )
    )
    return found


def traces_of(uid: int | None, root: Path) -> dict[str, list[str]]:
    """Find what a user has on this machine: processes, files in common places, sockets, IPC.

    Parameters
    ----------
    uid : int or None
        A user whom nothing else runs as; None: there is none, and only processes can be told.
    root : Path
        Processes that work below it count, whoever runs them.
    """
    if uid is None:
        return {"processes": [f"{pid} {_command(pid)}" for pid in processes_of(root)]}
    processes = {*processes_of(root), *_processes_of_user(uid)}
    return {
        "processes": [f"{pid} {_command(pid)}" for pid in sorted(processes)],
        **{place: list(_owned(Path(place), uid)) for place in _COMMON_PLACES},
        "IPC objects": [" ".join(found) for found in _ipc_objects(uid)],
        "sockets": list(_sockets(uid)),
    }


def remove_traces_of(uid: int | None, root: Path) -> None:
    """End the processes that `traces_of` finds, and remove the files and the IPC objects."""
    processes = (
        set(processes_of(root)) if uid is None else {*processes_of(root), *_processes_of_user(uid)}
    )
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for place in _COMMON_PLACES if uid is not None else ():
        for path in map(Path, _owned(Path(place), uid)):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for kind, number in _ipc_objects(uid) if uid is not None else ():
        command = ["ipcrm", f"--{_IPC[kind]}-id", number]
        subprocess.run(command, check=True)


def _processes_of_user(uid: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                yield int(entry.name)
        except OSError:
            continue


def _command(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode("utf-8", "replace")
        )
    except OSError:
        return "?"


def _owned(folder: Path, uid: int | None) -> Iterator[str]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            if path.lstat().st_uid == uid:
                yield str(path)
        except OSError:
            continue


def _ipc_objects(uid: int) -> Iterator[tuple[str, str]]:
    """Find System V objects: kind and number."""
    for kind in _IPC:
        names, *rows = _table(Path("/proc/sysvipc", kind))
        owner, number = names.index("uid"), 1
        yield from ((kind, row[number]) for row in rows if row[owner] == str(uid))


def _sockets(uid: int) -> Iterator[str]:
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        _, *rows = _table(Path("/proc/net", kind))
        yield from (f"{kind} {row[1]}" for row in rows if row[7] == str(uid))


def _table(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Tell what has come, gone and changed."""
    return [
        f"{name}: {before.get(name, 'was not there')} -> {after.get(name, 'is gone')}"
        for name in _names(before, after)
        if before.get(name) != after.get(name)
    ]


def _names(*found: Iterable[str]) -> list[str]:
    return sorted(set().union(*found))
