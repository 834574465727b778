"""A kit of iris that does without scikit-learn, whose import is most of what a short run costs.

Its submissions have the names of those of the bundled kit, and its scores as well. It is for tests
that are about what happens to a run, not about what is learned.
"""

from __future__ import annotations

import shutil
from pathlib import Path

_KIT = Path(__file__).parent / "light_iris"
_DATA = Path(__file__).parent / "light_iris_data"


def lighten(kit: Path) -> None:
    """Replace the problem and the submissions of a copy of the bundled kit.

    And what makes the data, where that lies beside the kit.
    """
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_KIT, kit, dirs_exist_ok=True, ignore=ignored)
    data = kit.parent / "data"
    if (data / "prepare_data.py").exists():
        shutil.copytree(_DATA, data, dirs_exist_ok=True, ignore=ignored)
