"""The worker whose folds run on a Ray cluster."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from ramp_engine.remote.config import RayWorkerConfig
from ramp_engine.remote.worker import RemoteWorker

__all__ = ["RayWorker"]


class RayWorker(RemoteWorker):
    """Run the folds of submissions on a Ray cluster: that of ``ray_address``, or a local one."""

    config_model: ClassVar[type[BaseModel] | None] = RayWorkerConfig
    engine: ClassVar[str] = "ray"
