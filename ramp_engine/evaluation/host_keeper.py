"""Keep one run on a machine that is reached from elsewhere: it goes on without a connection.

::

    python3 -I -S host_keeper.py FOLDER READY_FD

A process of its own session, which holds the supervisor's life-line. It ends the run when it gets
SIGTERM, and when nobody has asked about the run for too long. What became of it is in the folder's
state file, which has its size from the beginning: a full disk takes it all the same.
"""

from __future__ import annotations

if __name__ == "__main__":  # a file on its own: its siblings are to be found all the same
    import importlib.util
    import sys
    from importlib.machinery import ModuleSpec
    from pathlib import Path

    __package__ = "ramp_evaluation"
    _spec = ModuleSpec(__package__, None, is_package=True)
    _spec.submodule_search_locations = [str(Path(__file__).resolve().parent)]
    sys.modules[__package__] = importlib.util.module_from_spec(_spec)

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from pathlib import Path
from typing import Any

from . import supervise
from .host_place import Identity
from .supervised_process import SupervisedProcess

#: Time between two looks whether somebody has asked, in seconds.
LOOK_SECONDS = 1.0
#: The size of a state file [bytes]; it lies in one block, and is written in one piece.
STATE_BYTES = 512
#: How names of files in the folder of a run begin that only we read.
PLAN, STATE, ASKED, LOCK = "plan.json", "state", "asked", "lock"


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a run in place.

    Raises
    ------
    OSError
        The disk refuses, as it can at the first time only.
    """
    text = json.dumps(state).encode().ljust(STATE_BYTES)
    descriptor = os.open(folder / STATE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, text, 0)
    finally:
        os.close(descriptor)


def read_state(folder: Path) -> dict[str, Any]:
    """Read the state of a run; empty when it was never started."""
    try:
        state = json.loads((folder / STATE).read_bytes())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


class Keeper:
    """The watch over one run.

    Parameters
    ----------
    folder : Path
        Of the run; it holds the plan.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plan = json.loads((folder / PLAN).read_bytes())
        self._state: dict[str, Any] = {"keeper": Identity.of(os.getpid()).to_json()}
        self._is_told = False
        self._reader, self._writer = os.pipe()
        for descriptor in (self._reader, self._writer):
            os.set_blocking(descriptor, False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, *_: Any) -> None:
        self._is_told = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"w")

    def start(self) -> None:
        """Start the run.

        Raises
        ------
        OSError
            The machine refuses.
        """
        supervise.become_subreaper()
        write_state(self._folder, self._state)  # while there is room
        plan = self._plan
        with (self._folder / "log").open("ab") as log:
            self._process = SupervisedProcess(
                plan["command"],
                log=log,
                environment=plan["environment"],
                cwd=Path(plan["cwd"]),
                timeout_seconds=plan["timeout_seconds"],
                grace_seconds=plan["grace_seconds"],
                on_end=self._wake,
            )
        self._state["supervisor"] = Identity.of(self._process.pid).to_json()
        write_state(self._folder, self._state)

    def watch(self) -> None:
        """Stand by the run until nothing of it is left."""
        reason = self._wait()
        self._process.end()
        killed_by = self._process.killed_by
        if killed_by is not None:
            supervise.end_descendants()  # what the supervisor has left came to this process
            reason = reason or "the supervisor of the run was killed"
        number = signal.SIGTERM if reason and killed_by is None else killed_by
        ended = {"returncode": self._process.returncode, "reason": reason}
        ended["killed_by"] = None if number is None else int(number)
        write_state(self._folder, {**self._state, "ended": ended})

    def _wait(self) -> str:
        """Wait for a reason to end; empty when the run has ended by itself."""
        asked, since = self._asked(), time.monotonic()
        while not self._process.wait(0):
            if self._is_told:
                return "it was ended on request"
            if self._asked() != asked:  # not how old: clocks jump
                asked, since = self._asked(), time.monotonic()
            if time.monotonic() - since > self._plan["orphan_seconds"]:
                return f"nobody has asked about it for {self._plan['orphan_seconds']:g} s"
            if select.select([self._reader], [], [], LOOK_SECONDS)[0]:
                os.read(self._reader, 4096)
        return ""

    def _asked(self) -> int:
        with contextlib.suppress(OSError):
            return (self._folder / ASKED).stat().st_mtime_ns
        return 0


def main(folder: Path, ready: int) -> int:
    """Keep a run, unless somebody else does.

    Parameters
    ----------
    folder : Path
        Of the run.
    ready : int
        A descriptor: gets a line when the run has started, or says why it has not.

    Returns
    -------
    int
        The exit code.
    """
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.set_inheritable(ready, False)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        keeper = Keeper(folder)
        keeper.start()
    except BlockingIOError:
        os.write(ready, b"started\n")
        return 0
    except OSError as error:
        os.write(ready, f"{error.errno} {error}\n".encode("utf-8", "replace"))
        return 1
    os.write(ready, b"started\n")
    os.close(ready)
    keeper.watch()
    return 0


if __name__ == "__main__":
    os._exit(main(Path(sys.argv[1]), int(sys.argv[2])))
