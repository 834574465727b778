"""Start a command of this folder without putting the folder on ``sys.path``.

A kit may well have a module of its own called ``score`` or ``kit``. The folder is therefore known
as the package ``ramp_evaluation``, and its modules import each other relatively.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback

PACKAGE = "ramp_evaluation"


def _register() -> None:
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 (also inside an archive)
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100
    spec = importlib.machinery.ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [here]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)


def _leave(code: int) -> None:
    """End the process at once: tearing down scikit-learn takes longer than many a fold."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _run() -> int:
    if sys.version_info < (3, 9):
        print(
            f"{sys.executable} is Python {sys.version}; the evaluation needs 3.9", file=sys.stderr
        )
        return 3
    _register()
    try:
        return int(importlib.import_module(f"{PACKAGE}.command").main())
    except Exception:  # noqa: BLE001 (the exit code 1 is the participant's)
        traceback.print_exc()
        return 70


if __name__ == "__main__":
    _leave(_run())
