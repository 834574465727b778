"""The GPUs of this machine, shared out among the submissions that run."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from ramp_engine.errors import ResourceUnavailableError, WorkerSetupError

__all__ = ["GpuPool"]

_DEVICE = re.compile(r"nvidia(\d+)")


class GpuPool:
    """Hand out devices, each to one run at a time.

    Parameters
    ----------
    devices : sequence of str
        As they stand in ``CUDA_VISIBLE_DEVICES``: numbers or names.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._n_all = len(devices)
        self._free = list(devices)
        self._lock = threading.Lock()

    @classmethod
    def found(cls) -> GpuPool:
        """Find the devices that this process may use."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            return cls([device.strip() for device in visible.split(",") if device.strip()])
        matches = (_DEVICE.fullmatch(path.name) for path in Path("/dev").glob("nvidia*"))
        return cls([str(number) for number in sorted(int(match[1]) for match in matches if match)])

    def take(self, n: int) -> tuple[str, ...]:
        """Take devices.

        Raises
        ------
        WorkerSetupError
            The machine does not have so many.
        ResourceUnavailableError
            Other submissions have them just now.
        """
        if n > self._n_all:
            reason = f"a submission needs {n} GPUs, and this machine has {self._n_all}"
            raise WorkerSetupError(reason, "Correct `gpus`, or CUDA_VISIBLE_DEVICES")
        with self._lock:
            if n > len(self._free):
                reason = f"{len(self._free)} GPUs are free, and a submission needs {n}"
                raise ResourceUnavailableError(reason, "Lower n_workers: it waits until then")
            taken, self._free = self._free[:n], self._free[n:]
        return tuple(taken)

    def give_back(self, devices: Sequence[str]) -> None:
        """Give devices back."""
        with self._lock:
            self._free += devices
