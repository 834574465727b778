r"""A step server: one step for many submissions, from one process that is warm.

A fold server has imported the kit's libraries, holds the training part of one bundle and has never
fitted anything; it holds no test data, no label of them and no secret. A score server, which shares
no ancestor of that kind with it, has imported what scores; the labels are read by its children. For
each run a server forks a supervisor, which does with a child of its own what the command does, and
which alone the engine has to do with from then on: a run outlives a server that retires.

The engine holds the other end of a socket (``SOCK_SEQPACKET``). It hears once::

    {"pid": N, "paths": [...]}      ready; where modules come from: when they change, it is stale

and asks, with the descriptors of a log and of a channel, a stream socket::

    {"arguments": [...], "environment": {...}, "cwd": "...",
     "timeout": null, "grace": 1.0, "remove": ["..."]}

On the channel the engine hears ``<pid>\n`` of the supervisor, which does nothing before it has read
one byte: an engine that has waited too long closes the channel, and the run never begins. When
everything of the run has ended the engine hears ``<exit code>\n``. What it writes meanwhile, and
its end of file, are the supervisor's life-line (see `supervise`). End of file on the socket retires
the server: it ends after its last run.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn, Optional

from . import command, large_pages, supervise
from .fold import Inputs, load_inputs
from .kit import import_problem
from .preload import compiled, preload, uncollected
from .private import known_errors
from .scout import find_late_imports

#: The longest message [bytes]: arguments and environment of a run.
MAX_MESSAGE = 1 << 17

#: How often processes that have ended are taken leave of, while there are some [ms].
_REAP_MILLISECONDS = 1000


def serve(step: str, bundle: Path, descriptor: int) -> dict[str, Any]:
    """Get warm, and run submissions until the engine has enough of it.

    Parameters
    ----------
    step : str
        ``fold`` or ``score``.
    bundle : Path
        The public part.
    descriptor : int
        Of the socket to the engine.

    Returns
    -------
    dict
        ``n_runs``.

    Raises
    ------
    KitError
        The bundle is damaged or does not go with this environment.
    """
    with socket.socket(fileno=descriptor) as engine:
        engine.set_inheritable(False)
        with uncollected():
            inputs = _warm_up(step, bundle)
        engine.send(json.dumps({"pid": os.getpid(), "paths": sys.path}).encode())
        server = _Server(engine, inputs)
        server.run()
    return {"n_runs": server.n_runs}


def _warm_up(step: str, bundle: Path) -> Optional[Inputs]:
    """Import what the step will need; return what its runs share."""
    if step == "fold":
        inputs = load_inputs(bundle)
        preload(inputs.manifest.get("imports", ()))
        preload(find_late_imports(inputs, meanwhile=large_pages.collapse))
        known_errors()
        return inputs
    with compiled():
        from . import score  # noqa: F401  (its children will)
    import_problem(bundle / "kit")
    large_pages.collapse()
    return None


class _Server:
    """The loop of a server that is ready."""

    def __init__(self, engine: socket.socket, inputs: Optional[Inputs]) -> None:
        self._engine = engine
        self._inputs = inputs
        self.n_runs = 0
        self._n_children = 0

    def run(self) -> None:
        """Take requests until there are no more, and wait for the last run."""
        poll = select.poll()
        poll.register(self._engine, select.POLLIN)
        is_retired = False
        while not is_retired:
            if poll.poll(_REAP_MILLISECONDS if self._n_children else None):
                is_retired = not self._take()
            self._reap(os.WNOHANG)
        self._reap(0)

    def _take(self) -> bool:
        """Start one run; tell whether there was one to start."""
        message, descriptors, _, _ = socket.recv_fds(self._engine, MAX_MESSAGE, 2)
        if not message:
            return False
        log, channel = descriptors
        if os.fork() == 0:
            self._engine.close()
            _supervise(json.loads(message), self._inputs, log, channel)
        os.close(log)
        os.close(channel)
        self.n_runs += 1
        self._n_children += 1
        return True

    def _reap(self, options: int) -> None:
        while self._n_children and os.waitpid(-1, options)[0]:
            self._n_children -= 1


def _supervise(
    request: dict[str, Any], inputs: Optional[Inputs], log: int, channel: int
) -> NoReturn:
    """Be the supervisor of one run, in a process just forked."""
    code = command.EXIT_BUG
    try:
        os.setsid()
        for number in (1, 2):
            os.dup2(log, number)
        os.close(log)
        _take_on(request)
        if not _is_wanted(channel):
            os._exit(0)  # what it would have used may be another's by now
        supervisor = supervise.Supervisor(channel, request["timeout"])
        code = supervisor.run(
            lambda: _run(request["arguments"], inputs, channel),
            request["grace"],
            request["remove"],
        )
    except BaseException:  # noqa: BLE001 (the outermost frame of a process)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):  # nobody listens any more
            os.write(channel, f"{code}\n".encode())
        os._exit(code)


def _is_wanted(channel: int) -> bool:
    """Tell the engine who is there; tell whether it still waits for that."""
    try:
        os.write(channel, f"{os.getpid()}\n".encode())
        return bool(os.read(channel, 1))
    except OSError:  # it has closed the channel
        return False


def _take_on(request: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    tempfile.tempdir = None  # it may have been looked up before


def _run(arguments: list[str], inputs: Optional[Inputs], channel: int) -> NoReturn:
    code = command.EXIT_BUG
    try:
        os.close(channel)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as Python does when it starts
        code = command.main(arguments, inputs)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 (the outermost frame of a process)
        traceback.print_exc()
    finally:
        os._exit(code)
