"""What figures were taken on: nothing that names the machine or its folders."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from ramp_database.testing_server import temporary_server


def today() -> str:
    """Give the day of the measurement."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def describe_machine() -> dict[str, str]:
    """Describe the machine and the versions."""
    memory_kb = _field(Path("/proc/meminfo"), "MemTotal").split()[0]
    packages = ("numpy", "pandas", "scikit-learn", "ramp-workflow", "SQLAlchemy")
    return {
        "processor": _field(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory_kb) / (1 << 20):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "PostgreSQL": _postgresql(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _field(path: Path, name: str) -> str:
    lines = [line.partition(":") for line in path.read_text().splitlines()]
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def commit_of(repository: Path) -> str:
    """Name the commit that is measured, and say when files are not as it has them."""
    git = ["git", "-C", str(repository)]
    head = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    status = [*git, "status", "--porcelain", "--", "ramp_engine", "ramp_database"]
    changed = subprocess.run(status, capture_output=True, text=True, check=False)
    return head.stdout.strip() + (", changed" if changed.stdout.strip() else "")


def _postgresql() -> str:
    with temporary_server() as server, server.connect("postgres") as connection:
        return str(connection.execute("SHOW server_version").fetchone()[0])
