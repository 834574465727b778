"""Workers that run the folds of submissions on a distributed engine: `DaskWorker`, `RayWorker`.

Nothing of an engine is imported before it is needed, and never in the dispatcher's own process::

    dispatcher ── RemoteWorker ── GatewayClient
                                       │ unix socket, `frames`
                                  gateway       one process per dispatcher, with the client
                                       │ `engine.Engine`: jobs, events, calls
                                  cluster: a task for each fold, in a process of the engine
                                       │ unix socket, `frames`
                                  node agent    per event and node: bundles, fold servers
                                       │
                                  supervisor ── fold, confined

Each arrow is a life-line: whatever dies above, the fold below ends.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["DaskWorker", "RayWorker"]

_HOMES = {
    "DaskWorker": "ramp_engine.remote.dask.worker",
    "RayWorker": "ramp_engine.remote.ray.worker",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
