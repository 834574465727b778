"""The GPUs of this machine, shared out among the submissions that run.

A confined submission sees the device nodes of its own GPUs and of no other. The driver counts what
it can open: of several numbered GPUs a confined submission therefore sees its own as 0, 1, ...

References
----------
The device nodes are those that NVIDIA's container toolkit and Apptainer's ``--nv`` and ``--rocm``
show; the files below /sys those that the drivers were seen to need in other sandboxes.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ramp_engine.errors import ResourceUnavailableError, WorkerSetupError

__all__ = ["GpuAccess", "GpuPool", "cannot_open", "listed"]

_DEVICE = re.compile(r"nvidia(\d+)")
#: What every CUDA program opens, besides its GPUs; not each exists everywhere.
_NVIDIA = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
#: What the drivers read to find the GPUs, with what the links there lead to.
_READ = (
    "bus/pci/devices", "devices/pci*", "module/nvidia", "module/nvidia_uvm",
    "module/nvidia_modeset", "module/nvidia_drm", "class/kfd", "devices/virtual/kfd", "class/drm",
    "module/amdgpu", "dev/char",
)  # fmt: skip


@dataclass(frozen=True)
class GpuAccess:
    """What a submission is given to use its GPUs."""

    visible: tuple[str, ...] = ()  #: for ``CUDA_VISIBLE_DEVICES``
    devices: tuple[str, ...] = ()  #: device nodes
    read: tuple[str, ...] = ()  #: files and folders


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
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            return cls(listed(visible))
        matches = (_DEVICE.fullmatch(path.name) for path in Path("/dev").glob("nvidia*"))
        return cls([str(number) for number in sorted(int(match[1]) for match in matches if match)])

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
        if not gpus or not is_confined:
            return GpuAccess(tuple(gpus))
        are_numbered = all(gpu.isdecimal() for gpu in gpus)
        visible = tuple(map(str, range(len(gpus)))) if are_numbered else tuple(gpus)
        read = [str(path) for pattern in _READ for path in sorted(self._sys.glob(pattern))]
        return GpuAccess(visible, tuple(map(str, self._nodes(gpus, are_numbered))), tuple(read))

    def _nodes(self, gpus: Sequence[str], are_numbered: bool) -> list[Path]:
        named = [self._dev / name for name in _NVIDIA]
        if are_numbered:
            named += [self._dev / f"nvidia{gpu}" for gpu in gpus]
        else:  # which node is whose is not known by a UUID, nor by the name of a part of a GPU
            named += [path for path in self._dev.glob("nvidia*") if _DEVICE.fullmatch(path.name)]
            named += self._dev.glob("nvidia-caps/*")
        amd = [self._dev / "kfd", *self._dev.glob("dri/renderD*")]
        named += amd if amd[0].exists() else []
        return sorted(path for path in named if path.exists())


def listed(visible: str) -> list[str]:
    """List the devices that a value of ``CUDA_VISIBLE_DEVICES`` names."""
    return [device.strip() for device in visible.split(",") if device.strip()]


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
