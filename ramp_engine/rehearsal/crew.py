"""The dispatchers of a rehearsal: started, started again when they die, and ended."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ramp_engine.daemon import SHUTDOWN_SECONDS, start_dispatcher
from ramp_engine.errors import RampError
from ramp_engine.rehearsal.stage import Stage
from ramp_engine.supervised import last_lines

__all__ = ["Crew"]

logger = logging.getLogger(__name__)

#: Time until a dispatcher that died is replaced, in seconds.
RESTART_SECONDS = 0.5
#: So many that end by themselves without a success in between end the rehearsal.
MAX_DESERTERS = 5

Process = subprocess.Popen[bytes]


class Crew:
    """Keep a number of dispatchers running, for as long as the block lasts.

    Parameters
    ----------
    stage : Stage
    size : int
        How many.
    start : callable
        Starts one.

    Attributes
    ----------
    n_started : int
        Processes until now.
    stubborn : list of int
        The processes that did not end when they were told to.
    """

    def __init__(self, stage: Stage, size: int, start: Callable[[], Process] | None = None) -> None:
        self.n_started = 0
        self.stubborn: list[int] = []
        self._stage = stage
        self._size = size
        self._start = start or (lambda: start_rehearsing(stage))
        self._processes: list[Process] = []
        self._paused: list[Process] = []
        self._not_before = 0.0
        self._n_deserters = 0

    def __enter__(self) -> Self:
        """Begin; `tend` starts them."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End what is left of them."""
        self.dismiss()

    @property
    def pids(self) -> list[int]:
        """The processes that run or are paused."""
        return [process.pid for process in self._processes]

    def tend(self, *, is_going_well: bool = True) -> None:
        """Bury the dead and replace them.

        Parameters
        ----------
        is_going_well : bool
            Whether submissions have ended since the last call: then earlier ends are forgiven.

        Raises
        ------
        RampError
            They end by themselves, again and again.
        """
        self._n_deserters = 0 if is_going_well else self._n_deserters
        for process in [process for process in self._processes if process.poll() is not None]:
            self._processes.remove(process)
            self._not_before = time.monotonic() + RESTART_SECONDS
            if process.returncode != -signal.SIGKILL:
                self._note_deserter(process)
        if time.monotonic() >= self._not_before:
            while len(self._processes) < self._size:
                self._processes.append(self._start())
                self.n_started += 1

    def _note_deserter(self, process: Process) -> None:
        self._n_deserters += 1
        told = last_lines(self._stage.event.ramp.logs_dir / "dispatcher.log")
        logger.warning("dispatcher process %d ended with %s", process.pid, process.returncode)
        if self._n_deserters >= MAX_DESERTERS:
            raise RampError(f"the dispatchers end by themselves; the last one said:\n{told}")

    def kill(self, victim: int) -> int:
        """Kill one of those that run with SIGKILL, and give its number."""
        running = self._running()
        process = running[victim % len(running)]
        process.kill()
        process.wait()
        return process.pid

    def pause(self, victim: int) -> int:
        """Stop one of those that run with SIGSTOP, and give its number."""
        running = self._running()
        process = running[victim % len(running)]
        self._paused.append(process)
        process.send_signal(signal.SIGSTOP)
        return process.pid

    def resume(self) -> None:
        """Let those that are paused go on."""
        for process in self._paused:
            process.send_signal(signal.SIGCONT)
        self._paused.clear()

    @property
    def n_running(self) -> int:
        """How many run and are not paused."""
        return len(self._running())

    def _running(self) -> list[Process]:
        return [
            process
            for process in self._processes
            if process.poll() is None and process not in self._paused
        ]

    def dismiss(self) -> None:
        """Tell all of them to end and wait for that; whoever does not is killed and noted."""
        self.resume()
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.stubborn.append(process.pid)
                process.kill()
                process.wait()
        self._processes.clear()


def start_rehearsing(stage: Stage) -> Process:
    """Start a dispatcher, which does not outlive this process."""
    command = [sys.executable, "-m", "ramp_engine.rehearsal.dispatch", str(stage.directory)]
    return start_dispatcher(stage.event, command, when_parent_dies=signal.SIGKILL)
