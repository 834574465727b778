"""The worker that runs each submission on an EC2 instance of its own: `AWSWorker`.

Nothing of boto3 or paramiko is imported before it is needed::

    AWSWorker, one a submission ── Fleet, one a dispatcher ── EC2
        │ SshConnection                 one describe a turn, warm pool, budget
    instance: a short command a turn, JSON in and out
        └─ keeper ── supervisor ── the fold step, confined
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["AWSWorker"]

_HOMES = {"AWSWorker": "ramp_engine.aws.worker"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
