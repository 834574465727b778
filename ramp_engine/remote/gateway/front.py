"""What clients of a gateway may ask for, and who holds which run."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ramp_engine.fold_process import FoldScratch
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.gateway.clients import Client
from ramp_engine.remote.gateway.core import Core
from ramp_engine.remote.gateway.held_run import HeldRun
from ramp_engine.remote.gateway.nodes import Nodes
from ramp_engine.remote.gateway.run_files import RunFiles
from ramp_engine.remote.gateway.run_log import RunLog
from ramp_engine.remote.gateway.runs import Ended, Run
from ramp_engine.remote.gateway.timers import Loop
from ramp_engine.remote.gateway.uploads import Uploads
from ramp_engine.sandbox import SandboxKeys

__all__ = ["Front"]

logger = logging.getLogger(__name__)

#: How long runs that were ended may take to go before the gateway ends anyway, in seconds.
FAREWELL_SECONDS = 20.0


class Front:
    """Answer clients; everything happens in the thread of the loop.

    Parameters
    ----------
    core : Core
    nodes : Nodes
    uploads : Uploads
    loop : Loop
    folder : Path
        Of the gateway.
    config : mapping
        Of the worker.
    """

    def __init__(
        self,
        core: Core,
        nodes: Nodes,
        uploads: Uploads,
        loop: Loop,
        folder: Path,
        config: Mapping[str, Any],
    ) -> None:
        self._core, self._nodes, self._uploads, self._loop = core, nodes, uploads, loop
        self._folder = folder
        log_mb = SandboxKeys.of(config).limits.log_mb
        self._log_bytes = int(log_mb * 2**20)
        self._alone_seconds = float(config.get("adopt_within_seconds", 120.0)) + FAREWELL_SECONDS
        self._n_taken = 0
        self._clients: set[Client] = set()
        nodes.on_change = self._nodes_changed
        core.on_forgotten = self._end_if_idle

    def take(self, channel: socket.socket) -> None:
        """Take a client."""

        def hear(client: Client, frame: Frame) -> None:
            self._loop.post(partial(self._hear, client, frame))

        def lose(client: Client) -> None:
            self._loop.post(partial(self._lose, client))

        client = Client(channel, hear, lose)
        self._clients.add(client)
        self._n_taken += 1
        client.start()
        client.send({"said": "ready", "socket": str(self._folder / "socket")} | self._facts())

    def close(self) -> None:
        """Tell all clients that it is over."""
        for client in self._clients:
            if self._core.failure is not None:
                client.send({"said": "failed", "reason": self._core.failure})
            client.close()

    def _hear(self, client: Client, frame: Frame) -> None:
        header = frame.header
        answer = partial(self._answer, client, header)
        try:
            match header.get("op"):
                case "run":
                    self._begin(client, header)
                    answer()
                case "attach":
                    answer(**self._attach(client, header))
                case "detach":
                    self._detach(header)
                    answer()
                case "cancel":
                    self._cancel(header, answer)
                case "nodes":
                    self._nodes.look(lambda: answer(nodes=self._nodes.to_json()))
                case "warm":
                    self._warm(Path(header["bundle_dir"]))
                    answer()
                case "bye":
                    self._core.abandon(client)
                    self._loop.after(FAREWELL_SECONDS, self._end_if_alone)
                    answer()
        except (KeyError, TypeError, ValueError, OSError) as error:
            logger.exception("a request is refused")
            answer(error=f"{type(error).__name__}: {error}")

    def _answer(self, client: Client, header: Mapping[str, Any], **more: Any) -> None:
        client.send({"answer": header.get("id"), **more})

    def _begin(self, client: Client, header: Mapping[str, Any]) -> None:
        scratch = FoldScratch(Path(header["scratch"]), Path(header["tmp"]))
        timeout = header.get("limit_seconds")
        run = Run(header["run"], header["folds"], timeout, header.get("node"))
        log = RunLog(scratch, header["folds"], self._log_bytes)
        files = RunFiles(scratch, Path(header["submission"]))
        bundle_dir = Path(header["bundle_dir"])
        self._core.begin(HeldRun(run, files, log, bundle_dir, client, header["holder"]))

    def _attach(self, client: Client, header: Mapping[str, Any]) -> dict[str, Any]:
        held = self._core.find(header["run"])
        if held is None or held.is_called_off:
            return {"error": "the run is gone"}
        held.client, held.holder = client, header["holder"]
        return {"end": held.end_json()}

    def _detach(self, header: Mapping[str, Any]) -> None:
        held = self._core.find(header["run"])
        if held is not None and held.holder == header["holder"]:
            self._core.let_go(held)

    def _cancel(self, header: Mapping[str, Any], answer: Any) -> None:
        held = self._core.find(header["run"])
        if held is None or held.holder != header["holder"]:
            answer(is_held=held is not None)
            return
        how = Ended.TIMEOUT if header.get("is_late") else Ended.CANCELED
        self._core.call_off(held, answer, how, is_forgotten=not header.get("is_kept"))

    def _warm(self, bundle_dir: Path) -> None:
        packing = self._uploads.pack(bundle_dir)

        def warm() -> None:
            if packing.exception() is None:
                self._uploads.warm(packing.result())

        packing.add_done_callback(lambda _: self._loop.post(warm))

    def _nodes_changed(self) -> None:
        self._core.shun()
        for client in self._clients:
            client.send({"said": "nodes"} | self._facts())

    def _facts(self) -> dict[str, Any]:
        nodes = self._nodes
        return {"level": nodes.level, "environment": nodes.environment, "faults": nodes.faults}

    def _lose(self, client: Client) -> None:
        self._clients.discard(client)
        self._core.orphan(client)
        self._end_if_idle()
        self._loop.after(self._alone_seconds, partial(self._end_if_alone_since, self._n_taken))

    def _end_if_idle(self) -> None:
        """End when nobody is there, and nothing can be taken over."""
        if self._clients:
            return
        if self._core.n_runs == 0:
            self._loop.end()

    def _end_if_alone_since(self, n_taken: int) -> None:
        """End when nobody came meanwhile, whatever still runs: its lease ends it on the nodes."""
        if self._n_taken == n_taken:
            self._end_if_alone()

    def _end_if_alone(self) -> None:
        if not self._clients:
            self._loop.end()
