"""Runs of a step in a process that was forked for them: one, or one after the other.

The latter only of a trusted step. What a run may have changed is put back before the next one, or
the process ends: see `Before`. What the kit's own code sets elsewhere, as an option of a library,
stays until then.
"""

from __future__ import annotations

import contextvars
import gc
import json
import logging
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Optional

import numpy as np

from . import command
from .process_tree import resident

if TYPE_CHECKING:
    from .fold import Inputs

#: The longest message [bytes]: arguments and environment of a run.
MAX_MESSAGE = 1 << 17
#: So much more memory than at its start, libraries that it has come to use among it, makes a
#: process end [bytes].
MAX_GROWTH = 256 << 20

#: What is said of a process that can do another run, and of one that cannot.
CLEAN, DONE = "clean", "done"


def do_runs(requests: socket.socket, folder: Path) -> NoReturn:
    """Do what is asked for until there is no more; say of each run its exit code and how it left.

    Parameters
    ----------
    requests : socket
        Gives the request of a run with the descriptor of its log, and takes
        ``<exit code> <clean or done>``.
    folder : Path
        Modules from there, those of the kit, are imported anew for each run.
    """
    try:
        aside = os.dup(2)
        before = Before(folder)
        while True:
            message, logs, _, _ = socket.recv_fds(requests, MAX_MESSAGE, 1)
            if not message:
                os._exit(command.EXIT_DONE)
            print_to(logs[0])
            os.close(logs[0])
            code = _run_apart(json.loads(message), before)
            print_to(aside)
            is_clean = code == command.EXIT_DONE and before.is_restored()
            requests.send(f"{code} {CLEAN if is_clean else DONE}".encode())
    finally:
        os._exit(command.EXIT_BUG)


def _run_apart(request: dict[str, Any], before: Before) -> int:
    """Do a run that sees nothing of those before it."""
    before.restore()
    take_on(request)
    with warnings.catch_warnings():  # also forgets which were shown
        return contextvars.copy_context().run(run, request["arguments"])


class Before:
    """What a run finds when it begins.

    Parameters
    ----------
    folder : Path
        See `do_runs`.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = tuple(str(one) + os.sep for one in (folder.absolute(), folder.resolve()))
        self._path = list(sys.path)
        self._handlers = list(logging.root.handlers)
        self._np_random = np.random.get_state()
        self._files = _n_files()
        self._resident = resident(os.getpid())

    def restore(self) -> None:
        """Put back what can be."""
        sys.path[:] = self._path
        logging.root.handlers[:] = self._handlers
        random.seed()  # as after a fork
        np.random.set_state(self._np_random)
        for name in list(self._of_kit()):
            del sys.modules[name]

    def _of_kit(self) -> Iterator[str]:
        for name, module in list(sys.modules.items()):
            if _place(module).startswith(self._folders):
                yield name

    def is_restored(self) -> bool:
        """Tell whether all else is as it was: threads, timers, open files, memory."""
        if threading.active_count() > 1 or _is_timed() or _n_files() > self._files:
            return False
        if self._grown() > MAX_GROWTH:
            gc.collect()
        return self._grown() <= MAX_GROWTH

    def _grown(self) -> int:
        return resident(os.getpid()) - self._resident


def _place(module: object) -> str:
    """Tell where a module comes from; a package without a file of its own has a folder."""
    known = vars(module) if isinstance(module, ModuleType) else {}  # anything may stand there
    return str(known.get("__file__") or next(iter(known.get("__path__") or ()), ""))


def _is_timed() -> bool:
    """Tell whether a signal will come later, which would end another run."""
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    return any(signal.getitimer(timer)[0] for timer in timers)


def _n_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def print_to(log: int) -> None:
    """Have everything printed there from now on."""
    for number in (1, 2):
        os.dup2(log, number)


def take_on(request: dict[str, Any]) -> None:
    """Take on environment and folder of a run."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    tempfile.tempdir = None  # it may have been looked up before


def run(arguments: list[str], inputs: Optional[Inputs] = None) -> int:
    """Do what the command does, in a process that was forked for it; give its exit code."""
    code = command.EXIT_BUG
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as Python does when it starts
        code = command.main(arguments, inputs)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 (the outermost frame of a run)
        traceback.print_exc()
    return code
