"""Talk to the agent of this node; what the engine's task functions call.

Runs in the engine's worker process, in whatever thread, and imports little.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ramp_engine
from ramp_engine.errors import WorkerError, WorkerLostError
from ramp_engine.remote.frames import Frame, FrameError, receive, send
from ramp_engine.remote.node.identity import Identity
from ramp_engine.remote.node.place import Place

__all__ = ["ask", "run_fold"]

#: How long an agent may take to answer that it is there, in seconds.
START_SECONDS = 60.0
#: Time between two tries to reach one that starts or ends, in seconds.
RETRY_SECONDS = 0.02
#: Time between two looks for an interrupt that is meant for this thread, in seconds.
LOOK_SECONDS = 0.5
#: How long an agent that has said its last word may take to end, in seconds.
FAREWELL_SECONDS = 15.0

#: How long an agent of another version of ramp may take to be rid of its folds, in seconds.
REPLACE_SECONDS = 5.0

#: The agent is of the ramp that starts it, also where its interpreter would find another one.
_STARTER = (
    "import sys; sys.path.insert(0, sys.argv[2]); import ramp_engine; del sys.path[0]; "
    "sys.path += sys.argv[2:]; from {} import main; main(sys.argv[1])"
)


def run_fold(
    node: str,
    request: Frame,
    n_slots: int,
    say: Callable[[Frame], None],
    gpus: Sequence[str] | None = None,
) -> Frame:
    """Run a fold, and wait for its end.

    Parameters
    ----------
    node : str
        The engine's name of this node.
    request : Frame
        With ``op: fold``.
    n_slots : int
        So many folds run on this node at most.
    say : callable
        Called with each frame before the last.
    gpus : sequence of str, optional
        Those that the engine has assigned.

    Returns
    -------
    Frame
        The last one, which says ``ended``; also when the agent cannot be started.

    Raises
    ------
    WorkerLostError
        The agent has died, and the fold with it.

    Notes
    -----
    When the calling process dies, or this call is left by an exception, the fold ends.
    """
    header = request.header | {"n_slots": n_slots}
    if gpus is not None:
        header["gpus"] = list(gpus)
    elif header.get("gpus"):  # worker processes of a node may have GPUs of their own
        header["visible_gpus"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        with _connected(node, header) as channel:
            _send(channel, header, request.payload)
            while True:
                frame = _receive(channel, None)
                if frame.header.get("said") == "ended":
                    return frame
                say(frame)
    except _NoAgent as error:
        ended = {"said": "ended", "how": "refused", "kind": error.kind, "message": str(error)}
        nothing: dict[str, Any] = {
            "returncode": None,
            "result": None,
            "level": "",
            "parts": [],
            "facts": {},
        }
        return Frame(ended | nothing)


def ask(node: str, request: Frame, timeout_seconds: float = 60) -> Frame:
    """Ask the agent something.

    Parameters
    ----------
    node : str
        The engine's name of this node.
    request : Frame
        With any other ``op``.
    timeout_seconds : float
        For the answer; an agent that has to be started has time of its own.

    Returns
    -------
    Frame
        The answer; with ``error`` and ``kind`` in its header where something was refused.

    Raises
    ------
    WorkerLostError
        The agent has died, does not answer in time, or cannot be started.
    """
    try:
        with _connected(node, request.header) as channel:
            _send(channel, request.header, request.payload)
            answer = _receive(channel, time.monotonic() + timeout_seconds)
            if answer.header.get("is_ending"):
                _await_end(channel)
            return answer
    except _NoAgent as error:
        raise WorkerLostError(f"no agent can be started on node {node}: {error}") from error


class _NoAgent(Exception):
    """There is no agent, and none can be started."""

    def __init__(self, reason: str, kind: str = "setup") -> None:
        self.kind = kind
        super().__init__(reason)


@contextlib.contextmanager
def _connected(node: str, header: dict[str, Any]) -> Iterator[socket.socket]:
    """Connect to the agent, which is started when there is none."""
    spec = header.get("spec")
    if isinstance(spec, dict) and not spec.get("environment"):
        header["spec"] = spec | {"environment": {"python": sys.executable}}
    try:
        place = Place.of(header["site"], node)
        place.make()
    except WorkerError as error:
        raise _NoAgent(str(error)) from error
    except OSError as error:
        raise _no_room(error) from error
    with _greeted(place) as channel:
        yield channel


def _greeted(place: Place) -> socket.socket:
    """Connect, and hear that the agent is one of ours, and not just about to end."""
    until = time.monotonic() + START_SECONDS
    patience = _Patience(time.monotonic() + REPLACE_SECONDS)
    while True:
        with contextlib.suppress(OSError, FrameError):
            channel = place.connect(START_SECONDS)
            try:
                greeting = receive(channel)
                if greeting is not None and patience.takes(channel, greeting):
                    channel.settimeout(None)
                    return channel
            except BaseException:
                channel.close()
                raise
            channel.close()
        if time.monotonic() > until:
            raise _NoAgent(f"the agent does not answer; its log is {place.log}", "busy")
        if not _start(place):
            time.sleep(RETRY_SECONDS)  # another one is about to end, or to begin


class _Patience:
    """What to do with an agent that outlived the engine's worker which started it.

    Parameters
    ----------
    until : float
        So long it may end its folds, monotonic [s].
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._has_asked = False

    def takes(self, channel: socket.socket, greeting: Frame) -> bool:
        """Tell whether an agent will do; another program is told to end, unless it has folds.

        One that still has them, and has the same ramp, does: worker processes of several
        interpreters may share a node.

        Raises
        ------
        _NoAgent
            One of another version of ramp does not end.
        """
        theirs, own = Identity.of(greeting.header), Identity.own()
        if theirs == own or (theirs.ramp == own.ramp and self._has_asked):
            return True
        self._has_asked = True
        send(channel, {"op": "replace"})
        answer = receive(channel)
        if answer is None or answer.header.get("is_ending"):
            _await_end(channel)
        elif time.monotonic() > self._until:
            reason = f"another agent still runs folds there: {theirs}, and this is {own}"
            raise _NoAgent(reason, "busy")
        return False


def _start(place: Place) -> bool:
    """Start an agent; tell whether it is the one that answers from now on."""
    paths = [str(Path(ramp_engine.__path__[0]).parent), *filter(os.path.isabs, sys.path)]
    starter = _STARTER.format("ramp_engine.remote.node.agent")
    try:
        with place.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", starter, str(place.root), *dict.fromkeys(paths)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        raise _no_room(error) from error
    with process:
        assert process.stdout is not None  # noqa: S101  asked for above
        said = process.stdout.read()
    if process.returncode != 0:
        raise _NoAgent(f"the agent of this node cannot be started: {_last_words(place.log)}")
    return said == b"ready\n"


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").rstrip().splitlines()
    except OSError:
        lines = []
    return "\n".join(lines[-5:]) or "it says nothing"


def _no_room(error: OSError) -> _NoAgent:
    from ramp_engine.room import find_full

    kind = "disk" if find_full(error, Path("/")) else "setup"
    return _NoAgent(f"the agent of this node cannot be started: {error}", kind)


def _send(channel: socket.socket, header: dict[str, Any], payload: bytes) -> None:
    try:
        send(channel, header, payload)
    except OSError as error:
        raise _lost() from error


def _receive(channel: socket.socket, until: float | None) -> Frame:
    """Wait for a frame in short steps: an exception for this thread comes between two."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    while not poll.poll(LOOK_SECONDS * 1000):
        if until is not None and time.monotonic() > until:
            raise WorkerLostError("the agent of the node does not answer in time")
    try:
        frame = receive(channel)
    except (OSError, FrameError) as error:
        raise _lost() from error
    if frame is None:
        raise _lost()
    return frame


def _await_end(channel: socket.socket) -> None:
    channel.settimeout(FAREWELL_SECONDS)
    with contextlib.suppress(OSError, FrameError):
        receive(channel)


def _lost() -> WorkerLostError:
    return WorkerLostError("the agent of the node has died, and what it ran with it")
