"""The GPUs of the machine that this runs on, and what a fold is given to use some of them.

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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def found_gpus(dev: Path = Path("/dev")) -> list[str]:
    """Find the GPUs that this process may use, as they stand in ``CUDA_VISIBLE_DEVICES``."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return listed(visible)
    matches = (_DEVICE.fullmatch(path.name) for path in dev.glob("nvidia*"))
    return [str(number) for number in sorted(int(match[1]) for match in matches if match)]


def listed(visible: str) -> list[str]:
    """List the devices that a value of ``CUDA_VISIBLE_DEVICES`` names."""
    return [device.strip() for device in visible.split(",") if device.strip()]


def gpu_access(
    gpus: Sequence[str],
    *,
    is_confined: bool,
    dev: Path = Path("/dev"),
    sys: Path = Path("/sys"),
) -> GpuAccess:
    """Tell what a submission needs to use some of the GPUs.

    Parameters
    ----------
    gpus : sequence of str
        Some of `found_gpus`.
    is_confined : bool
        Whether it sees only the device nodes that it is given.
    dev, sys : Path
        Where the machine has device nodes and what is known of devices.

    Returns
    -------
    GpuAccess
        Without device nodes when it is not confined: it sees them all.
    """
    if not gpus or not is_confined:
        return GpuAccess(tuple(gpus))
    are_numbered = all(gpu.isdecimal() for gpu in gpus)
    visible = tuple(map(str, range(len(gpus)))) if are_numbered else tuple(gpus)
    read = [str(path) for pattern in _READ for path in sorted(sys.glob(pattern))]
    return GpuAccess(visible, tuple(map(str, _nodes(gpus, are_numbered, dev))), tuple(read))


def _nodes(gpus: Sequence[str], are_numbered: bool, dev: Path) -> list[Path]:
    named = [dev / name for name in _NVIDIA]
    if are_numbered:
        named += [dev / f"nvidia{gpu}" for gpu in gpus]
    else:  # which node is whose is not known by a UUID, nor by the name of a part of a GPU
        named += [path for path in dev.glob("nvidia*") if _DEVICE.fullmatch(path.name)]
        named += dev.glob("nvidia-caps/*")
    amd = [dev / "kfd", *dev.glob("dri/renderD*")]
    named += amd if amd[0].exists() else []
    return sorted(path for path in named if path.exists())
