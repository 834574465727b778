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


if __name__ == "__main__":
    _register()
    _leave(importlib.import_module(f"{PACKAGE}.command").main())
