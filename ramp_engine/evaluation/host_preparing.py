"""What a machine offers that is reached from elsewhere: its interpreter, and its confinement."""

from __future__ import annotations

import difflib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .gpu_devices import found_gpus
from .host_place import HostError, HostPlace
from .host_unpacking import take_bundle
from .plan import ConfinementError
from .privileges import find_user
from .run_command import run_environment
from .untrusted_files import read_text

#: The first import from a new disk can be slow, in seconds.
IMPORT_SECONDS = 300.0
#: How long the trial of confinement may take, in seconds.
PROBE_SECONDS = 60.0

_CONDA_HOMES = (
    "~/miniconda3", "~/anaconda3", "~/miniforge3", "~/mambaforge", "~/micromamba", "~/conda",
    "/opt/conda", "/opt/miniconda3", "/opt/miniforge3", "/opt/anaconda3",
)  # fmt: skip
_TRY = "import numpy, rampwf, sys; print(*sys.version_info[:2])"
_IMAGE_HINT = "Correct conda_env or python in the worker's section, or take another image"


def hello(place: HostPlace, _: dict[str, Any]) -> dict[str, Any]:
    """Say what this machine is, and what of ours is on it."""
    return {
        "python": list(sys.version_info[:3]),
        "facts": facts(place),
        "bundles": _names(place.bundles),
        "runs": _names(place.runs),
    }


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def facts(place: HostPlace) -> dict[str, Any]:
    """Say what this machine is."""
    return {
        "hostname": platform.node(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mb": round(_memory_bytes() / 2**20),
        "disk_free_mb": shutil.disk_usage(place.root).free >> 20,
        "gpus": found_gpus(place.dev),
    }


def _memory_bytes() -> int:
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = read_text(Path("/sys/fs/cgroup", name).parent, Path(name).name).strip()
        amounts += [int(text)] if text.isdigit() else []
    return min(amounts)


def take(_: HostPlace, __: dict[str, Any]) -> dict[str, Any]:
    """Do nothing more: the caller holds the machine now."""
    return {}


def prepare(place: HostPlace, request: dict[str, Any]) -> dict[str, Any]:
    """Find the interpreter and the confinement, and unpack the bundle when it has come."""
    if not take_bundle(place, request.get("bundle")):
        return {"needs": True}
    python = find_python(request.get("environment") or {})
    confinement = _confinement(python, place, request)  # before what takes longer
    _check_python(python, place)
    return {"needs": False, "python": str(python), "facts": facts(place), **confinement}


def find_python(environment: Mapping[str, Any]) -> Path:
    """Find the event's interpreter.

    Parameters
    ----------
    environment : mapping
        ``conda_env``, a name or a prefix; or ``python``, a program or a prefix; or nothing.

    Raises
    ------
    HostError
        It is not here.
    """
    if environment.get("conda_env"):
        python = _conda_prefix(str(environment["conda_env"])) / "bin" / "python"
    else:
        python = _located(str(environment.get("python") or sys.executable))
    if not (python.is_file() and os.access(python, os.X_OK)):
        reason = f"the event's environment is missing on the instance: no {python}"
        raise HostError("python", reason, _IMAGE_HINT)
    return python


def _located(python: str) -> Path:
    if "/" not in python:
        found = shutil.which(python)
        if found is None:
            reason = f"there is no program {python!r} on PATH on the instance"
            raise HostError("python", reason, _IMAGE_HINT)
        return Path(found)
    path = Path(python).expanduser().absolute()
    return path / "bin" / "python" if path.is_dir() else path


def _conda_prefix(name: str) -> Path:
    if "/" in name:
        return Path(name).expanduser().absolute()
    known = dict(_conda_environments())
    if name in known:
        return known[name]
    reason = f"there is no conda environment {name!r} on the instance"
    near = difflib.get_close_matches(name, known, 1)
    reason += f"; did you mean {near[0]!r}?" if near else ""
    reason += f" (there are: {', '.join(sorted(known))})" if known else " (nor conda)"
    raise HostError("python", reason, _IMAGE_HINT)


def _conda_environments() -> Iterator[tuple[str, Path]]:
    """List the environments, the least likely first: later ones of a name count."""
    listed = read_text(Path("~/.conda").expanduser(), "environments.txt").splitlines()
    yield from ((Path(prefix).name, Path(prefix)) for prefix in listed if Path(prefix).is_dir())
    program = os.environ.get("CONDA_EXE")
    homes = [Path(home).expanduser() for home in reversed(_CONDA_HOMES)]
    for home in [*homes, *([Path(program).parent.parent] if program else [])]:
        if (home / "conda-meta").is_dir() or (home / "envs").is_dir():
            yield "base", home
            for prefix in sorted((home / "envs").glob("*")):
                yield prefix.name, prefix


def _check_python(python: Path, place: HostPlace) -> None:
    """See to it that an interpreter and its packages are what a fold needs."""
    code, said, errors = _run([str(python), "-I", "-c", _TRY], IMPORT_SECONDS, place, python)
    try:
        version = [int(part) for part in said.splitlines()[-1].split()]
    except (ValueError, IndexError) as error:
        told = " ".join(errors.strip().splitlines()[-1:]) or f"it ended with code {code}"
        reason = f"{python} on the instance cannot import ramp-workflow: {told}"
        raise HostError("python", reason, _IMAGE_HINT) from error
    if version < [3, 9]:
        found = ".".join(map(str, version))
        reason = f"{python} is Python {found}; at least 3.9 is needed"
        raise HostError("python", reason, _IMAGE_HINT)


def _run(
    command: Sequence[str], seconds: float, place: HostPlace, python: Path
) -> tuple[int, str, str]:
    environment = run_environment(python, place.root, Path("/tmp"), None, ())  # noqa: S108 (TMPDIR of ours)
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            env=environment,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"it took more than {seconds:g} s"
    return done.returncode, done.stdout, done.stderr


def _confinement(python: Path, place: HostPlace, request: dict[str, Any]) -> dict[str, Any]:
    """Find how submissions can be confined; whether that is enough is for the engine to say."""
    for path in request.get("readable", ()):
        if not Path(path).exists():
            reason = f"submissions should be able to read {path}, which the instance does not have"
            raise HostError("sandbox", reason, "Correct extra_read_paths")
    user = request.get("user")
    if user is None:
        return {"level": "none", "uid": None, "gid": None, "refused": []}
    try:
        uid, gid = find_user(str(user)) if os.geteuid() == 0 else (None, None)
    except ConfinementError as error:
        raise HostError("sandbox", f"on the instance {error.message}", error.hint) from error
    return {**_probe(python, place, uid, gid), "uid": uid, "gid": gid}


def _probe(
    python: Path, place: HostPlace, uid: Optional[int], gid: Optional[int]
) -> dict[str, Any]:
    command = [str(python), "-I", "-S", str(place.program / "confine.py"), "probe"]
    if uid is not None:
        command += ["--uid", str(uid), "--gid", str(gid)]
    code, said, errors = _run(command, PROBE_SECONDS, place, python)
    try:
        found = json.loads(said.splitlines()[-1])
        return {"level": found["level"], "refused": found["refused"]}
    except (ValueError, KeyError, TypeError, IndexError):
        told = " ".join(errors.strip().splitlines()[-1:]) or f"it ended with code {code}"
        reason = f"the trial of confinement failed: {told}"
        refusal = {"level": "namespaces", "reason": reason, "hint": ""}
        return {"level": "none", "refused": [refusal]}
