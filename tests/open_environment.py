"""An interpreter that every user of this machine may run, with the packages of the one that tests.

Submissions run as a user without rights, who may not come to a Python below ``/root`` or in
somebody's home. Where the Python that runs the tests lies so, it is laid out once more in a folder
that is open to all; packages are hard links where the file system allows it, and copies elsewhere.
There ramp-workflow imports its parts when they are asked for: a run whose kit needs few of them
starts in a third of the time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from importlib.metadata import Distribution
from pathlib import Path

import ramp_database
import ramp_engine
from tests.conda_channel import stage_python
from tests.on_demand import import_on_demand

_NOBODY = 65534
#: What submissions, and a dispatcher run by that user, import; with all that these require.
_PACKAGES = ("ramp-workflow", "scikit-learn", "pandas", "matplotlib", "ramp-engine")
_CHECK = "import rampwf, numpy, sqlalchemy, yaml, pydantic, rich, ramp_engine"

_made: list[Path] = []


@cache
def open_python() -> Path:
    """Find or make the interpreter; `remove_open_environment` removes what was made."""
    if os.geteuid() != 0 or _runs_as_nobody(Path(sys.executable)):
        return Path(sys.executable)
    root = Path(tempfile.mkdtemp(prefix="ramp-open-", dir="/tmp"))
    _made.append(root)
    root.chmod(0o755)
    stage_python(root)
    _add_packages(Path(sysconfig.get_path("purelib")), _packages_of(root))
    import_on_demand(_packages_of(root) / "rampwf")
    python = root / "bin" / "python"
    if not _runs_as_nobody(python):
        raise RuntimeError(f"{python} cannot be run by every user")
    return python


def remove_open_environment() -> None:
    """Remove what `open_python` made in this process."""
    open_python.cache_clear()
    while _made:
        shutil.rmtree(_made.pop())


def _packages_of(prefix: Path) -> Path:
    return prefix / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def _runs_as_nobody(python: Path) -> bool:
    try:
        command = [python, "-I", "-c", _CHECK]
        who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        return subprocess.run(command, cwd="/", capture_output=True, **who).returncode == 0  # type: ignore[call-overload, no-any-return]
    except OSError:
        return False


def _add_packages(source: Path, target: Path) -> None:
    """Link packages with their byte code, which no list of installed files names."""
    names = set[str]()
    for found in _with_requirements(_PACKAGES, source).values():
        names |= {file.parts[0] for file in found.files or ()}
    ignored = shutil.ignore_patterns("tests", "*.pth")  # the latter lead to places that are closed
    for name in sorted(names - {"..", "__pycache__"}):
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=ignored, copy_function=_link)
        elif (source / name).is_file() and not name.startswith("__editable__"):
            _link(source / name, target / name)
    for package in (ramp_database, ramp_engine):  # may be installed as a link to this repository
        place = target / package.__name__
        if not place.exists():
            shutil.copytree(package.__path__[0], place)


def _link(path: str | Path, copy: str | Path) -> None:
    try:
        os.link(path, copy)
    except OSError:
        shutil.copy2(path, copy)


def _with_requirements(names: tuple[str, ...], source: Path) -> dict[str, Distribution]:
    """Find packages and all that they require, as far as it is installed; extras are left out."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        installed = next(iter(Distribution.discover(name=name, path=[str(source)])), None)
        if name in found or installed is None:
            continue
        found[name] = installed
        needs = [text for text in installed.requires or () if "extra ==" not in text]
        waiting += [match[0] for text in needs if (match := re.match(r"[\w.-]+", text))]
    return found
