"""The GPUs of this machine, shared out among the submissions that run."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from ramp_engine.errors import ResourceUnavailableError, WorkerSetupError
from ramp_engine.evaluation.gpu_devices import GpuAccess, found_gpus, gpu_access, listed

__all__ = ["GpuAccess", "GpuPool", "cannot_open", "listed"]


class GpuPool:
    """Hand out devices, each to one run at a time.

    Parameters
    ----------
    devices : sequence of str
        As they stand in ``CUDA_VISIBLE_DEVICES``: numbers or names.
    dev, sys : Path
        Where the machine has device nodes and what is known of devices.
    """

    def __init__(
        self, devices: Sequence[str], dev: Path = Path("/dev"), sys: Path = Path("/sys")
    ) -> None:
        self._dev = dev
        self._sys = sys
        self.all = tuple(devices)  #: free or not
        self._free = list(devices)
        self._lock = threading.Lock()

    @classmethod
    def found(cls) -> GpuPool:
        """Find the devices that this process may use."""
        return cls(found_gpus())

    def take(self, n: int, among: Sequence[str] | None = None) -> tuple[str, ...]:
        """Take devices.

        Parameters
        ----------
        n : int
        among : sequence of str, optional
            Those that will do, whether they were known before or not; default: all.

        Raises
        ------
        WorkerSetupError
            The machine does not have so many.
        ResourceUnavailableError
            Other submissions have them just now.
        """
        with self._lock:
            new = [device for device in among or () if device not in self.all]
            self.all += tuple(new)
            self._free += new
            suitable = self.all if among is None else among
            if n > len(suitable):
                reason = f"a submission needs {n} GPUs, and this machine has {len(suitable)}"
                raise WorkerSetupError(reason, "Correct `gpus`, or CUDA_VISIBLE_DEVICES")
            free = [device for device in self._free if device in suitable]
            if n > len(free):
                reason = f"{len(free)} GPUs are free, and a submission needs {n}"
                raise ResourceUnavailableError(reason, "Lower n_workers: it waits until then")
            taken = tuple(free[:n])
            self._free = [device for device in self._free if device not in taken]
        return taken

    def give_back(self, devices: Sequence[str]) -> None:
        """Give devices back."""
        with self._lock:
            self._free += devices

    def access(self, gpus: Sequence[str], *, is_confined: bool) -> GpuAccess:
        """Tell what a submission needs to use some of the GPUs.

        Parameters
        ----------
        gpus : sequence of str
            As from `take`.
        is_confined : bool
            Whether it sees only the device nodes that it is given.

        Returns
        -------
        GpuAccess
            Without device nodes when it is not confined: it sees them all.
        """
        return gpu_access(gpus, is_confined=is_confined, dev=self._dev, sys=self._sys)


def cannot_open(path: Path, uid: int | None, gid: int | None) -> bool:
    """Tell whether permissions keep a user from opening a device node to read and write.

    Parameters
    ----------
    path : Path
    uid, gid : int or None
        The user, who has no other group; None: this process.
    """
    if uid is None:
        return not os.access(path, os.R_OK | os.W_OK)
    status = path.stat()
    shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
    return status.st_mode >> shift & 6 != 6
