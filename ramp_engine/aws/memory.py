"""What ``memory_profiling`` tells the participant."""

from __future__ import annotations

import math
from pathlib import Path

from ramp_engine.fold_outputs import read_result

__all__ = ["tell_peaks"]


def tell_peaks(result: Path, log: Path) -> None:
    """Add to the log of a run the most memory that each fold took, with all its processes.

    Parameters
    ----------
    result : Path
        What the fold step said of itself; it may be missing, and is not trusted.
    log : Path

    Raises
    ------
    OSError
        The disk refuses.
    """
    folds = (read_result(result) or {}).get("folds")
    with log.open("ab") as file:
        for fold in folds if isinstance(folds, list) else ():
            if isinstance(fold, dict):
                file.write(_told(fold.get("fold"), fold.get("peak_memory_mb")).encode())


def _told(number: object, peak_mb: object) -> str:
    if not (isinstance(number, int) and isinstance(peak_mb, float) and math.isfinite(peak_mb)):
        return ""
    amount = f"at most {peak_mb:.1f} MB of memory" if peak_mb >= 0.1 else "hardly any memory"
    return f"fold {number} took {amount} beside the imports that folds share\n"
