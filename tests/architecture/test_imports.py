"""What an import may do, and what it may not."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import ramp_database
import ramp_engine

MODULES = sorted(
    module.name
    for package in (ramp_database, ramp_engine)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    # those run in other processes: the evaluation in the event's environment, Alembic's scripts
    if "__main__" not in module.name
    and not module.name.startswith(("ramp_engine.evaluation", "ramp_database.migrations"))
)
#: What the core install does not bring.
EXTRAS = {
    "boto3", "dask", "distributed", "hypothesis", "moto", "numpy", "pandas", "paramiko", "psycopg",
    "pytest", "rampwf", "ray", "scipy", "sklearn",
}  # fmt: skip


def run_python(code: str, directory: Path, *arguments: str) -> str:
    environment = os.environ | {"HOME": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


IMPORT_ALL = """
import importlib, json, logging, signal, sys, threading
before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
for name in sys.argv[1:]:
    importlib.import_module(name)
loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
ours = [l for l in loggers if l.name == "root" or l.name.startswith("ramp")]
print(json.dumps({
    "handlers": [str(h) for l in ours for h in l.handlers],
    "threads": threading.active_count(),
    "signals": before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)),
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
}))
"""


def test_importing_everything_makes_no_file_no_handler_and_no_thread(tmp_path: Path) -> None:
    modules = [name for name in MODULES if ".testing" not in name]
    seen = json.loads(run_python(IMPORT_ALL, tmp_path, *modules))
    assert seen["handlers"] == []
    assert seen["threads"] == 1
    assert seen["signals"]
    assert list(tmp_path.rglob("*")) == []


def test_the_core_install_is_enough_for_everything_but_engines_and_the_test_kit(
    tmp_path: Path,
) -> None:
    """The client of an engine is imported by its gateway only, paramiko by the first connection."""
    engines = ("ramp_engine.remote.dask.", "ramp_engine.remote.ray.")
    lazy = (*engines, "ramp_engine.transports.paramiko_")
    workers = {f"{engine}worker" for engine in engines}
    modules = [
        name
        for name in MODULES
        if ".testing" not in name and (name in workers or not name.startswith(lazy))
    ]
    assert workers <= set(modules)
    seen = json.loads(run_python(IMPORT_ALL, tmp_path, *modules))
    assert EXTRAS.isdisjoint(seen["modules"])


IMPORT_ALONE = """
import importlib, os, sys
for name in sys.argv[2].split():
    importlib.import_module(name)
for name in sys.argv[1].split():
    pid = os.fork()
    if pid == 0:
        importlib.import_module(name)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        print(name)
"""


def test_every_command_imports_what_it_needs_whatever_was_imported_before(tmp_path: Path) -> None:
    """Each in a process of its own, which has imported nothing of ramp."""
    commands = [name for name in MODULES if name.startswith("ramp_engine.cli.")]
    assert len(commands) > 10
    theirs = "click pydantic.main rich.table sqlalchemy.orm yaml"
    assert run_python(IMPORT_ALONE, tmp_path, " ".join(commands), theirs) == ""


@pytest.mark.parametrize("arguments", [["--help"], ["setup", "--help"], ["submit", "--help"]])
def test_help_needs_neither_the_database_nor_the_configuration(
    arguments: list[str], tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from ramp_engine.cli.main import ramp\n"
        "ramp.main(sys.argv[1:], standalone_mode=False)\n"
        "print(*sys.modules, sep='\\n')\n"
    )
    modules = set(run_python(code, tmp_path, *arguments).split())
    assert modules.isdisjoint({"alembic", "pydantic", "rich", "sqlalchemy", "yaml"})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("ramp_engine.base", "BaseWorker"),
        ("ramp_engine.hooks", "Hook"),
        ("ramp_engine.local", "CondaEnvWorker"),
        ("ramp_engine.local", "LocalWorker"),
        ("ramp_engine.remote", "DaskWorker"),
        ("ramp_engine.remote", "RayWorker"),
        ("ramp_engine.transports.ssh", "SshConnection"),
    ],
)
def test_names_that_plugin_authors_know_are_where_the_documentation_says(
    module: str, name: str
) -> None:
    assert hasattr(__import__(module, fromlist=[name]), name)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_offers_what_it_says(name: str) -> None:
    module = __import__(name, fromlist=["*"])
    offered = getattr(module, "__all__", [])
    assert sorted(set(offered)) == sorted(offered)
    assert [item for item in offered if not hasattr(module, item)] == []
    assert module.__doc__, f"{name} does not say what it holds"
