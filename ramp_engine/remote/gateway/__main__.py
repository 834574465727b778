"""The gateway: the process that holds the client of a cluster, for the dispatchers of a machine.

``python -m ramp_engine.remote.gateway --engine dask --folder F --client-fd N`` reads from its first
client, at the descriptor, what is configured, connects to the cluster, and says ``ready`` or why
not. It ends when it has neither clients nor runs, and when the cluster is lost.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ramp_engine.errors import RampError, WorkerSetupError
from ramp_engine.remote.engine import Engine, EngineEvent, MakeEngine
from ramp_engine.remote.frames import FrameError, receive, send
from ramp_engine.remote.gateway.clients import Listener
from ramp_engine.remote.gateway.core import Core
from ramp_engine.remote.gateway.front import Front
from ramp_engine.remote.gateway.nodes import Nodes
from ramp_engine.remote.gateway.requests import Requests
from ramp_engine.remote.gateway.timers import Loop
from ramp_engine.remote.gateway.uploads import Uploads
from ramp_engine.remote.gateway.versions import own_versions

__all__ = ["main"]

logger = logging.getLogger(__name__)

#: How long the nodes that are there may take to tell of themselves before we say ``ready``, and how
#: long the end may take: of folds on the nodes, and of the engine, in seconds.
FACTS_SECONDS, RELEASE_SECONDS, LEAVE_SECONDS = 180.0, 10.0, 20.0
#: Time between two looks whether somebody still waits for the cluster, in seconds.
LOOK_SECONDS = 0.5
#: Why a gateway ends that was sent SIGTERM.
TERMINATED = "somebody has ended the gateway to the cluster (SIGTERM)"
#: A longer log is emptied, in bytes.
MAX_LOG_BYTES = 4 << 20

_ENGINES = {
    "dask": "ramp_engine.remote.dask.engine:open_engine",
    "ray": "ramp_engine.remote.ray.engine:open_engine",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Be a gateway; the exit code is 0 unless the cluster could not be reached, or was lost."""
    parser = argparse.ArgumentParser(prog="gateway", description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--folder", required=True, type=Path, help="for the socket and bundles")
    parser.add_argument("--client-fd", required=True, type=int)
    arguments = parser.parse_args(argv)
    faulthandler.register(signal.SIGUSR1)  # where every thread is, to the log
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(message)s"
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the dispatcher's affair
    channel = socket.socket(fileno=arguments.client_fd)
    opening = receive(channel)
    if opening is None:
        return 0
    config = opening.header["config"]
    is_ready = threading.Event()
    if not (config.get("dask_scheduler") or config.get("ray_address")):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a cluster of our own is not left half begun
    else:
        threading.Thread(target=_end_with, args=(channel.fileno(), is_ready), daemon=True).start()
    try:
        return _serve(arguments.engine, arguments.folder, channel, config, is_ready)
    except RampError as error:
        logger.error("the gateway cannot begin: %s", error)
        hint = getattr(error, "hint", "")
        reason = getattr(error, "reason", str(error))
        with contextlib.suppress(OSError):
            send(channel, {"said": "refused", "reason": reason, "hint": hint})
        return 1


def _end_with(channel: int, is_ready: threading.Event) -> None:
    """End when the first client is gone before it was told anything: nobody else waits for us."""
    poll = select.poll()
    poll.register(channel, select.POLLRDHUP)
    while not is_ready.is_set():
        if poll.poll(LOOK_SECONDS * 1000) and not is_ready.is_set():
            logger.warning("the dispatcher is gone before the cluster was there")
            os._exit(1)


def _serve(
    name: str,
    folder: Path,
    channel: socket.socket,
    config: dict[str, Any],
    is_ready: threading.Event,
) -> int:
    loop = Loop()
    requests = Requests(config, os.urandom(8).hex())
    gateway: list[Core] = []

    def sink(event: EngineEvent) -> None:
        loop.post(lambda: gateway[0].handle(event))  # nothing is done before it is there

    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        versions = pool.submit(own_versions, config, name)  # while the engine connects
        engine = stack.enter_context(_left(_maker(name)(config, sink)))
        nodes = Nodes(engine, requests, versions.result(), loop.post, loop.clock)
        store = config.get("bundle_store")
        uploads = Uploads(nodes, requests, folder.parent / "packed", store, loop.post)
        core = Core(engine, requests, nodes, uploads, loop, config)
        gateway.append(core)
        front = Front(core, nodes, uploads, loop, folder, config)
        _await_facts(loop, nodes)
        if core.failure is not None:
            raise WorkerSetupError(f"the cluster is lost already: {core.failure}")
        is_ready.set()
        front.take(channel)
        Listener(folder, lambda other: loop.post(partial(front.take, other)))
        _tick(loop, core, nodes, requests.lease_seconds / 4)
        signal.signal(signal.SIGTERM, lambda *_: loop.post(partial(core.fail, TERMINATED)))
        loop.run()
        front.close()
        if core.failure is None or core.failure == TERMINATED:
            nodes.release(RELEASE_SECONDS)
    return 0 if core.failure is None else 1


def _await_facts(loop: Loop, nodes: Nodes) -> None:
    """Wait until all nodes that are there have told of themselves.

    Raises
    ------
    WorkerSetupError
        None of them goes with this machine. Where some do, the others get no folds.
    """

    def look() -> None:
        if nodes.is_complete:
            loop.end()

    nodes.on_answer = look
    nodes.look(look)
    loop.run(FACTS_SECONDS)
    nodes.on_answer = lambda: None
    if nodes.faults and not nodes.has_fitting:
        nodes.release(RELEASE_SECONDS)
        hint = "Give all machines the same versions, or name another environment"
        raise WorkerSetupError("; ".join(nodes.faults), hint)


def _tick(loop: Loop, core: Core, nodes: Nodes, seconds: float) -> None:
    """Do what is to be done again and again."""
    core.renew()
    nodes.look()
    _bound_log()
    loop.after(seconds, partial(_tick, loop, core, nodes, seconds))


def _bound_log() -> None:
    with contextlib.suppress(OSError):  # no file
        if os.fstat(sys.stderr.fileno()).st_size > MAX_LOG_BYTES:
            os.ftruncate(sys.stderr.fileno(), 0)


@contextlib.contextmanager
def _left(engine: Engine) -> Iterator[Engine]:
    """Enter an engine, and leave it at the end, however long it hangs."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(engine)
        try:
            yield engine
        finally:
            watchdog = threading.Timer(LEAVE_SECONDS, partial(os._exit, 1))
            watchdog.daemon = True
            watchdog.start()


def _maker(name: str) -> MakeEngine:
    """Find what makes the engine.

    Raises
    ------
    WorkerSetupError
        It is not installed.
    """
    module, _, attribute = _ENGINES.get(name, name).partition(":")
    try:
        found: MakeEngine = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        hint = f"pip install 'ramp-engine[{name}]'"
        raise WorkerSetupError(f"the engine {name} cannot be loaded: {error}", hint) from error
    return found


def _run() -> None:
    """Be the process: whatever threads an engine has left, it ends."""
    code = 1
    try:
        code = main()
    except (OSError, FrameError):
        logger.exception("the gateway has lost its first client")
    except Exception:
        logger.exception("the gateway failed")
    finally:
        logging.shutdown()
        os._exit(code)


if __name__ == "__main__":
    _run()
