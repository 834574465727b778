"""A Python environment with plugins in it, as who installs ramp and them has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.open_environment import open_python

_PACKAGES = "lib/python*/site-packages"
#: What has not happened by then will not [s].
PATIENCE_SECONDS = 600.0


class PluginEnvironment:
    """A new virtual environment, which sees the packages of the one that tests.

    Parameters
    ----------
    directory : Path
        Made.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = directory / "bin" / "python"
        self.run([sys.executable, "-m", "venv", "--without-pip", str(directory)])
        (packages,) = directory.glob(_PACKAGES)
        seen = [*_quick_packages(), sysconfig.get_path("purelib")]
        lines = [f"import site; site.addsitedir({place!r})\n" for place in seen]
        (packages / "tests.pth").write_text("".join(lines))

    def install(self, *sources: Path) -> None:
        """Build wheels of packages, offline and out of their source trees, and install those."""
        copies, wheels = self.directory / "sources", self.directory / "wheels"
        ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        for source in sources:
            shutil.copytree(source, copies / source.name, ignore=ignored)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels)]
        self.run([*pip, "wheel", *options, *map(str, copies.iterdir())])
        pip += ["--python", str(self.python)]
        self.run([*pip, "install", "--no-deps", "--no-index", *map(str, wheels.iterdir())])

    def test(self, tests: Path) -> str:
        """Run the tests of a package, copied away from its sources; give what pytest said."""
        copy = self.directory / f"tests-of-{tests.parent.name}"
        shutil.copytree(tests, copy, ignore=shutil.ignore_patterns("__pycache__"))
        return self.run([str(self.python), "-m", "pytest", "-q", "-p", "no:cacheprovider"], copy)

    def run(
        self,
        command: Sequence[str],
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """Run a program to its end, which has to be a good one; give what it printed."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        done = subprocess.run(
            command,
            cwd=cwd,
            env=kept | dict(variables or {}),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout


def _quick_packages() -> list[str]:
    """Give the folder with a ramp-workflow that is imported quickly, where there is one."""
    prefix = open_python().parent.parent
    return [] if open_python() == Path(sys.executable) else [str(*prefix.glob(_PACKAGES))]
