"""Making a machine as it was before a submission ran there, and saying whether that succeeded."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .host_place import HostPlace
from .host_runs import END_SECONDS, HostRun
from .run_folder import remove_tree

#: Where everybody may write.
_SHARED = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 (they are only looked through)
_LOOK_SECONDS = 0.05


def wipe(place: HostPlace, request: dict[str, Any]) -> dict[str, Any]:
    """End and remove all runs, and whatever else was left.

    A run that was confined by namespaces leaves nothing elsewhere. What one of another user could
    leave is looked for: that user's processes, and files where everybody may write. One that ran
    unconfined, or as the login's own user, could have changed anything: the machine is not clean.
    """
    left = [*_remove_runs(place)]
    kept = request.get("keep_bundles")
    own = {place.program.parent, *place.root.glob(f"{place.program.parent.name}.*")}
    spared = {*own, place.bundles, place.runs, place.marks, place.token, place.holder}
    spared |= {path for path in place.bundles.iterdir() if kept is None or path.name in kept}
    for path in (*place.root.iterdir(), *place.bundles.iterdir()):
        if path not in spared:
            left += _removed(path)
    place.make()
    for mark in sorted(place.marks.iterdir()):
        left += _removed_traces(mark)
    return {"is_clean": not left, "left": left[:20]}


def _remove_runs(place: HostPlace) -> Iterator[str]:
    for folder in place.runs.iterdir():
        run = HostRun(folder)
        if not run.end():
            yield f"processes of the run {folder.name}"
        else:
            run.remove()
            yield from _removed(folder)


def _removed(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        remove_tree(path)
    return [str(path)] if os.path.lexists(path) else []


def _removed_traces(mark: Path) -> list[str]:
    """Remove what a kind of run could leave, and the mark when nothing is left."""
    if not mark.name.startswith("uid_"):
        return ["a submission ran here that was free to change anything"]
    uid = int(mark.name[len("uid_") :])
    left = [] if _end_processes(uid) else [f"processes of the user {uid}"]
    for folder in _SHARED:
        for path in _owned(Path(folder), uid):
            left += _removed(path)
    return left or _removed(mark)


def _owned(folder: Path, uid: int) -> list[Path]:
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                found += [path] if path.lstat().st_uid == uid else []
    return found


def _end_processes(uid: int) -> bool:
    """End all processes of a user; tell whether they are gone."""
    until = time.monotonic() + END_SECONDS
    while pids := [*_processes(uid)]:
        if time.monotonic() > until:
            return False
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)
    return True


def _processes(uid: int) -> Iterator[int]:
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if path.name.isdigit() and path.stat().st_uid == uid and _is_alive(path):
                yield int(path.name)


def _is_alive(path: Path) -> bool:
    text = (path / "stat").read_text(errors="replace")
    return text[text.rindex(")") + 2] not in "ZX"
