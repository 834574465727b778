"""How the fold step is run: its arguments, and all its environment variables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .plan import LEVELS
from .run_folder import FoldScratch

#: Read by numerical libraries when they are imported.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
#: How long a run may take to finish its logs when it is ended early, in seconds.
GRACE_SECONDS = 1.0


def fold_arguments(
    scratch: FoldScratch,
    *,
    bundle: Path,
    submission: Path,
    n_jobs: int,
    sandbox: Mapping[str, Any],
    folds: Optional[Sequence[int]] = None,
    checkpoint: Optional[Path] = None,
) -> list[str]:
    """Give the arguments of the fold step.

    Parameters
    ----------
    scratch : FoldScratch
        Of the run.
    bundle : Path
        The public half of the event's bundle.
    submission : Path
        The participant's files.
    n_jobs : int
        So many folds at a time.
    sandbox : mapping
        As the engine's ``Sandbox.spec`` gives it.
    folds : sequence of int, optional
        Those that are run; all of them by default.
    checkpoint : Path, optional
        A folder where the folds may save what they need to be resumed.
    """
    options: dict[str, Any] = {
        "--bundle": bundle,
        "--submission": submission,
        "--output": scratch.output,
        "--scratch": scratch.work,
        "--private-log": scratch.private_log,
        "--result": scratch.result,
        "--jobs": n_jobs,
        "--sandbox": json.dumps(sandbox),
    }
    if folds is not None:
        options["--folds"] = ",".join(map(str, folds))
    if checkpoint is not None:
        options["--checkpoint"] = checkpoint
    return ["fold", *(str(part) for option in options.items() for part in option)]


def let_pass(sandbox: Mapping[str, Any], folders: Sequence[Path]) -> None:
    """Let the user that the folds run as pass through folders, where it has no mounts of its own.

    Raises
    ------
    OSError
        They are somebody else's.
    """
    if sandbox.get("uid") is not None and sandbox.get("level") != LEVELS[0]:
        for folder in folders:
            folder.chmod(0o711)


def folds_in_flight(bundle: Path, n_jobs: int) -> int:
    """Tell how many folds of a submission run at a time.

    Parameters
    ----------
    bundle : Path
        The public half of the event's bundle.
    n_jobs : int
        The most that may.
    """
    n_folds = sum(1 for _ in (bundle / "folds").glob("fold_*.npz"))
    return max(1, min(n_jobs, n_folds))


def threads_of_a_fold(bundle: Path, n_threads: Optional[int], n_jobs: int) -> Optional[int]:
    """Share the threads of a run among its folds; None: as many as the libraries take."""
    return n_threads and max(1, n_threads // folds_in_flight(bundle, n_jobs))


def run_environment(
    python: Path, home: Path, tmp: Path, n_threads: Optional[int], gpus: Sequence[str]
) -> dict[str, str]:
    """Give all environment variables of a process: none of ours, so no secrets."""
    environment = {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(tmp),
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as the device nodes are numbered
    }
    prefix = python.parent.parent
    if (prefix / "conda-meta").is_dir():
        environment["CONDA_PREFIX"] = str(prefix)
    if n_threads is not None:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(n_threads))
    return environment
