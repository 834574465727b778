"""What workers on this machine may lose: the process that stands by a run."""

from __future__ import annotations

import os
import signal

from ramp_engine.base import BaseWorker
from ramp_engine.local import FoldProcessWorker


def kill_supervisor(worker: BaseWorker) -> None:
    """Kill it as the system does when memory is short, unless it has ended."""
    assert isinstance(worker, FoldProcessWorker)
    process = worker._made_run.process
    assert process is not None
    if process.returncode is None:
        os.kill(process.pid, signal.SIGKILL)
