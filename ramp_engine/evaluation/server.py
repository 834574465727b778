r"""A step server: one step for many submissions, from one process that is warm.

A fold server has imported the kit's libraries, holds the training part of one bundle and has never
fitted anything; it holds no test data, no label of them and no secret. A score server, which shares
no ancestor of that kind with it, has imported what scores; the labels are read by its children. For
each run a server forks a supervisor, which does with a child of its own what the command does, and
which alone the engine has to do with from then on: a run outlives a server that retires. Those of a
score server wait for another run afterwards (see `runner`).

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
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Optional

from . import command, large_pages, runner, runs, supervise
from .fold import Inputs, load_inputs
from .kit import import_problem
from .preload import compiled, preload, uncollected
from .private import known_errors
from .scout import find_late_imports

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
        sys.stdout.flush()  # or each run would print again what the kit has
        engine.send(json.dumps({"pid": os.getpid(), "paths": sys.path}).encode())
        server = _Server(engine, inputs, bundle.parent if step == "score" else None)
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
    """The loop of a server that is ready.

    Parameters
    ----------
    engine : socket
    inputs : Inputs or None
        What runs share.
    trusted : Path or None
        Runs are those of a trusted step, done by `runner.Runners`, with the kit of this folder.
    """

    def __init__(
        self, engine: socket.socket, inputs: Optional[Inputs], trusted: Optional[Path]
    ) -> None:
        self._engine = engine
        self._inputs = inputs
        self._poll = select.poll()
        self._poll.register(engine, select.POLLIN)
        self._runners = trusted and runner.Runners(self._poll, trusted, engine.close)
        self.n_runs = 0
        self._n_children = 0

    def run(self) -> None:
        """Take requests until there are no more, and wait for the last run."""
        is_retired = False
        while not is_retired:
            for place in self._wait():
                if self._runners and place != self._engine.fileno():
                    self._runners.hear(place)
                else:
                    is_retired = not self._take()
            self._reap(os.WNOHANG)
        if self._runners:
            self._runners.close()
        self._reap(0)

    def _wait(self) -> list[int]:
        """Wait for something to read; the engine's comes last, as an idle runner may do it."""
        n_kept = len(self._runners.places) if self._runners else 0
        is_any_ending = self._n_children > n_kept
        ready = self._poll.poll(_REAP_MILLISECONDS if is_any_ending else None)
        return sorted(
            (place for place, _ in ready), key=lambda place: place == self._engine.fileno()
        )

    def _take(self) -> bool:
        """Start one run; tell whether there was one to start."""
        message, descriptors, _, _ = socket.recv_fds(self._engine, runs.MAX_MESSAGE, 2)
        if not message:
            return False
        self._n_children += self._start(message, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self.n_runs += 1
        return True

    def _start(self, message: bytes, descriptors: Sequence[int]) -> bool:
        """Start a run; tell whether a process was forked for it."""
        if self._runners:
            return self._runners.give(message, descriptors)
        if os.fork() == 0:
            self._engine.close()
            _supervise(json.loads(message), self._inputs, *descriptors)
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
        runs.print_to(log)
        os.close(log)
        runs.take_on(request)
        if not runner.is_wanted(channel):
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


def _run(arguments: list[str], inputs: Optional[Inputs], channel: int) -> NoReturn:
    try:
        os.close(channel)
        code = runs.run(arguments, inputs)
    except BaseException:  # noqa: BLE001 (the outermost frame of a process)
        traceback.print_exc()
        code = command.EXIT_BUG
    finally:
        os._exit(code)
