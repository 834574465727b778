"""The folders of an event's gateways, and what is swept away of them."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ramp_engine.remote.gateway.clients import connect

__all__ = ["gateways_of", "packed_of", "sweep"]

_DAY_SECONDS = 86400.0


def gateways_of(work_dir: Path) -> Path:
    """Name where each gateway has its folder."""
    return work_dir / "gateways"


def packed_of(work_dir: Path) -> Path:
    """Name where bundles are as they are sent, which all gateways share."""
    return gateways_of(work_dir) / "packed"


def sweep(work_dir: Path) -> None:
    """Remove what gateways left that were killed with their dispatchers, and what nobody needs.

    Other gateways of the event may be at work meanwhile.
    """
    for folder in _old(work_dir):
        with contextlib.suppress(OSError):
            connect(folder / "socket").close()
            continue
        shutil.rmtree(folder, ignore_errors=True)
    for path in packed_of(work_dir).glob("*"):
        if not (work_dir / "bundles" / path.stem).exists() and _is_old(path):
            path.unlink(missing_ok=True)


def _old(work_dir: Path) -> Iterator[Path]:
    gateways = gateways_of(work_dir)
    if gateways.is_dir():
        for folder in gateways.iterdir():
            if folder != packed_of(work_dir) and _is_old(folder):
                yield folder


def _is_old(path: Path) -> bool:
    """Tell whether it was changed last a day ago; not when somebody removes it just now."""
    try:
        return time.time() - path.stat().st_mtime > _DAY_SECONDS
    except OSError:
        return False
