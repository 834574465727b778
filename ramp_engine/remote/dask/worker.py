"""The worker whose folds run on a Dask cluster."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from ramp_engine.remote.config import DaskWorkerConfig
from ramp_engine.remote.worker import RemoteWorker

__all__ = ["DaskWorker"]


class DaskWorker(RemoteWorker):
    """Run the folds of submissions on a Dask cluster: that of ``dask_scheduler``, or our own."""

    config_model: ClassVar[type[BaseModel] | None] = DaskWorkerConfig
    engine: ClassVar[str] = "dask"
