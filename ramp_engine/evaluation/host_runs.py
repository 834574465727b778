"""The runs on a machine that is reached from elsewhere: asked about, packed, ended."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Optional

from . import disk_use, supervise
from .host_keeper import ASKED, PLAN, read_state
from .host_notices import find_notice
from .host_place import HostError, HostPlace, Identity
from .left_outputs import (
    LOG_HALF_BYTES,
    MAX_FILE_BYTES,
    copy_log,
    fold_folders,
    is_tested,
    open_untrusted,
    output_sizes,
)
from .run_folder import remove_tree

#: The most of a log in one answer [bytes].
LOG_PIECE_BYTES = 64 << 10
#: How long a run may take to be gone after it was told to end, in seconds.
END_SECONDS = 10.0
#: A larger result is not read [bytes].
_MAX_RESULT_BYTES = 16 << 20
_LOOK_SECONDS = 0.05


class HostRun:
    """One run.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def is_known(self) -> bool:
        """Whether it was ever started."""
        return bool(read_state(self.folder))

    def _identity(self, who: str) -> Identity:
        return Identity.from_json(read_state(self.folder).get(who))

    def end_of(self) -> Optional[dict[str, Any]]:
        """Tell how it ended: ``returncode``, ``killed_by``, ``reason``; None while it runs."""
        if self._is_running():
            return None
        ended = read_state(self.folder).get("ended")  # after the look: the keeper writes it last
        if isinstance(ended, dict):
            return ended
        reason = "its keeper was killed, or the machine was started anew"
        number = int(signal.SIGKILL)
        return {"returncode": 128 + number, "killed_by": number, "reason": reason}

    def _is_running(self) -> bool:
        return self._identity("keeper").is_alive or self._identity("supervisor").is_alive

    def end(self) -> bool:
        """End it and wait for that; tell whether it is gone. May be called again."""
        until = time.monotonic() + END_SECONDS
        for who in ("keeper", "supervisor"):
            process = self._identity(who)
            if process.send(signal.SIGTERM):
                process.send(signal.SIGCONT)
        while self._is_running() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        for who in ("supervisor", "keeper"):
            process = self._identity(who)
            if process.is_alive:
                supervise.kill_descendants(process.pid)
                process.send(signal.SIGKILL)
        return self._end_strays()

    def _end_strays(self) -> bool:
        """End what nobody held any more: keeper and supervisor were killed; tell success."""
        until = time.monotonic() + END_SECONDS
        while True:
            strays = [*self._strays()]
            for pid in strays:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not strays and not self._is_running():
                return True
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_SECONDS)

    def _strays(self) -> Iterator[int]:
        """List the processes that began with the environment of this run."""
        mark = b"\0HOME=" + os.fsencode(self.folder / "home") + b"\0"
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in b"\0" + (path / "environ").read_bytes() + b"\0":
                        yield int(path.name)

    def remove(self) -> None:
        """Remove all its files; it has ended."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            remove_tree(Path(json.loads((self.folder / PLAN).read_bytes())["tmp"]))
        remove_tree(self.folder)


def status(place: HostPlace, request: dict[str, Any]) -> dict[str, Any]:
    """Tell how a run stands; counts as asking about it."""
    run = HostRun(place.run(request))
    if not run.is_known:
        return {"state": "unknown", "notice": find_notice(place)}
    with contextlib.suppress(OSError):
        os.utime(run.folder / ASKED)
    ended = run.end_of()  # before the log and the folds, which are whole then
    offset = request.get("log_offset")
    log = b"" if offset is None else _piece(run.folder / "log", int(offset))
    known = set(request.get("done", ()))
    answer = {
        "state": "running" if ended is None else "ended",
        "returncode": None,
        "killed_by": None,
        "reason": "",
        "log": base64.b64encode(log).decode(),
        "done": [number for number in _tested(run.folder) if number not in known],
        "notice": find_notice(place),
        "disk_is_full": disk_use.is_full(place.root),
    }
    return {**answer, **(ended or {})}


def _piece(path: Path, offset: int) -> bytes:
    with contextlib.suppress(OSError), open_untrusted(path) as log:
        log.seek(offset)
        return log.read(LOG_PIECE_BYTES)
    return b""


def _numbers(folder: Path) -> list[int]:
    return sorted(int(fold.name[len("fold_") :]) for fold in fold_folders(folder / "output"))


def _tested(folder: Path) -> list[int]:
    return [number for number in _numbers(folder) if is_tested(folder / "output", number)]


def pack(place: HostPlace, request: dict[str, Any]) -> dict[str, Any]:
    """Make one file of some folds; ``whole``: and of everything else that is asked for."""
    run = HostRun(place.run(request))
    if not run.is_known:
        raise HostError("request", f"there is no run {run.folder.name} here")
    wanted, is_whole = request.get("folds"), bool(request.get("whole"))
    if is_whole:
        if run.end_of() is None:
            raise HostError("request", "the run has not ended")
        for name in ("work", "tmp", "submission"):  # on a full disk there is room then
            remove_tree(run.folder / name)
    for path in run.folder.glob("outgoing-*"):
        path.unlink()
    files = dict(_outputs(run.folder, wanted))
    if is_whole:
        files.update(_own_files(run.folder))
    target = run.folder / f"outgoing-{time.monotonic_ns()}"
    from .parcel import write_parcel  # what is asked each turn starts without

    n_bytes, sha256 = write_parcel(target, files)
    about = {"n_bytes": n_bytes, "sha256": sha256}
    return {"file": f"{place.root.name}/{target.relative_to(place.root)}", **about}


def _outputs(
    folder: Path, wanted: Optional[Collection[int]]
) -> Iterator[tuple[str, tuple[Path, int]]]:
    for number in _numbers(folder):
        if wanted is None or number in wanted:
            fold = folder / "output" / f"fold_{number}"
            for name, size in output_sizes(fold).items():
                if size <= MAX_FILE_BYTES:
                    yield f"output/fold_{number}/{name}", (fold / name, size)


def _own_files(folder: Path) -> Iterator[tuple[str, tuple[Path, int]]]:
    """List the logs, each with its middle left out if it is too long, and the result."""
    for name in ("log", "private_log", "result.json"):
        path = folder / name
        with contextlib.suppress(OSError):
            size = path.lstat().st_size
            if name == "result.json" and size > _MAX_RESULT_BYTES:
                continue
            if size > 2 * LOG_HALF_BYTES + 100:
                path = folder / f"cut-{name}"
                with open_untrusted(folder / name) as log:
                    copy_log(log, path, 0o600)
                size = path.stat().st_size
            with open_untrusted(path):
                yield name, (path, size)


def end(place: HostPlace, request: dict[str, Any]) -> dict[str, Any]:
    """End a run; one that nobody knows is gone."""
    run = HostRun(place.run(request))
    return {"gone": not run.folder.exists() or run.end()}
