"""The event's environment: a Python that has ramp-workflow and what the kit needs.

It is given by ``conda_env`` (name or prefix) or ``python`` (an interpreter, or the prefix of a
venv, uv or pixi environment), and made by `create_env` otherwise.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ramp_engine.conda import create_conda_env, prefix_of, update_conda_env
from ramp_engine.errors import WorkerSetupError
from ramp_engine.supervised import last_lines, run_logged

__all__ = [
    "create_conda_env",
    "create_env",
    "default_prefix",
    "python_for_worker",
    "python_in",
    "update_conda_env",
]

#: The longest time that installing the requirements may take, in seconds.
INSTALL_TIMEOUT_SECONDS = 3600.0
_MARKER = "ramp-environment.json"
_CREATE_HINT = "Run `ramp setup create-env --event-config ...`, or give the interpreter as `python`"


def default_prefix(work_dir: Path) -> Path:
    """Give the place of the environment that is made for an event."""
    return work_dir / "env"


def python_for_worker(worker: Mapping[str, Any], work_dir: Path) -> Path:
    """Find the interpreter of an event's environment.

    Parameters
    ----------
    worker : mapping
        The section ``worker`` or ``evaluation``; ``conda_env`` counts before ``python``, and
        without either it is the environment made for the event.
    work_dir : Path
        The event's.

    Returns
    -------
    Path
        An executable file. Links stay: a venv's interpreter is one.

    Raises
    ------
    WorkerSetupError
        There is none; what to do about it.

    Notes
    -----
    A name of a conda environment costs a call of conda, some 0.3 s: keep the answer.
    """
    if worker.get("conda_env"):
        prefix = prefix_of(str(worker["conda_env"]))
        hint = "Run `ramp setup create-conda-env --event-config ...`, or correct conda_env"
        return _checked(prefix / "bin" / "python", hint)
    if worker.get("python"):
        return _checked(_located(str(worker["python"])), "Correct `python` in the event's file")
    return _checked(python_in(default_prefix(work_dir)), _CREATE_HINT)


def python_in(prefix: Path) -> Path:
    """Give the interpreter of a venv or conda environment."""
    return prefix / "bin" / "python"


def _located(python: str) -> Path:
    """Give the path of an interpreter that may be named, or be given by its prefix."""
    if "/" not in python:
        found = shutil.which(python)
        if found is None:
            reason = f"there is no program {python!r} on PATH"
            raise WorkerSetupError(reason, "Give the path of the interpreter as `python`")
        return Path(found)
    path = Path(python).expanduser().absolute()
    return python_in(path) if path.is_dir() else path


def _checked(python: Path, hint: str) -> Path:
    if not python.exists():
        raise WorkerSetupError(f"the event's environment is missing: no {python}", hint)
    if not (python.is_file() and os.access(python, os.X_OK)):
        raise WorkerSetupError(f"{python} is no interpreter: it cannot be executed", hint)
    return python


def create_env(
    requirements: Path,
    prefix: Path,
    *,
    python: str | None = None,
    log_path: Path | None = None,
    on_making: Callable[[Path], None] = lambda log_path: None,  # noqa: ARG005
) -> Path:
    """Make a virtual environment from a ``requirements.txt``; quick when nothing has changed.

    Parameters
    ----------
    requirements : Path
        Paths in it are relative to its folder.
    prefix : Path
        Where the environment will be. One that was left incomplete, or whose requirements or Python
        have changed, is made anew.
    python : str, optional
        The interpreter to make it with, a path or a name on PATH; default: the one that runs this.
    log_path : Path, optional
        Where pip's progress goes; default: ``<prefix>.log``.
    on_making : callable
        Called with the path of the log before what takes long, if there is anything to do.

    Returns
    -------
    Path
        The interpreter of the environment.

    Raises
    ------
    WorkerSetupError
        No such file; pip fails, with the last lines of what it said; `prefix` is something else.

    Notes
    -----
    Two processes may call it at once: one waits for the other. Until the last step has succeeded
    the environment counts as incomplete.
    """
    log_path = log_path or prefix.with_name(f"{prefix.name}.log")
    interpreter = Path(sys.executable) if python is None else _checked(_located(python), "")
    with _locked(prefix):
        key = _key(_text(requirements), interpreter)
        if _is_complete(prefix, key):
            return python_in(prefix)
        on_making(log_path)
        _clear(prefix)
        _mark_as_ours(prefix)
        _run([str(interpreter), "-I", "-m", "venv", str(prefix)], log_path)
        pip = [str(python_in(prefix)), "-I", "-m", "pip", "install", "--no-input"]
        pip += ["--disable-pip-version-check", "-r", str(requirements.absolute())]
        _run(pip, log_path, cwd=requirements.absolute().parent)
        (prefix / _MARKER).write_text(json.dumps(key, indent=1) + "\n")
    return python_in(prefix)


def _text(requirements: Path) -> bytes:
    try:
        return requirements.read_bytes()
    except OSError as error:
        reason = f"{requirements} cannot be read: {error.strerror}"
        raise WorkerSetupError(reason, "The kit lists in it what its submissions need") from error


def _key(requirements: bytes, interpreter: Path) -> dict[str, str]:
    """Say what an environment depends on."""
    return {
        "requirements": hashlib.sha256(requirements).hexdigest(),
        "interpreter": str(interpreter),
        "version": _version(interpreter),
    }


def _version(interpreter: Path) -> str:
    if interpreter == Path(sys.executable):
        return platform.python_version()
    command = [str(interpreter), "-I", "-c", "import platform; print(platform.python_version())"]
    with tempfile.TemporaryDirectory(prefix="ramp-python-") as directory:
        output = Path(directory, "stdout")
        _run(command, output)
        return last_lines(output, 1)


def _is_complete(prefix: Path, key: dict[str, str]) -> bool:
    try:
        is_current = json.loads((prefix / _MARKER).read_text()) == key
    except (OSError, ValueError):
        return False
    return bool(is_current) and os.access(python_in(prefix), os.X_OK)


def _clear(prefix: Path) -> None:
    """Remove an old environment; refuse to remove anything else."""
    if not prefix.exists():
        return
    if any(prefix.iterdir()) and not (prefix / "pyvenv.cfg").exists():
        reason = f"{prefix} is not a virtual environment and would be overwritten"
        raise WorkerSetupError(reason, "Move it away")
    try:
        shutil.rmtree(prefix)
    except OSError as error:
        raise WorkerSetupError(f"the old {prefix} cannot be removed: {error}") from error


def _mark_as_ours(prefix: Path) -> None:
    """Write first what `_clear` knows an environment by: whoever makes it may be killed."""
    try:
        prefix.mkdir(exist_ok=True)
        (prefix / "pyvenv.cfg").touch()
    except OSError as error:
        raise WorkerSetupError(f"{prefix} cannot be written: {error}") from error


def _run(command: list[str], log_path: Path, cwd: Path | None = None) -> None:
    code = run_logged(command, log_path, timeout_seconds=INSTALL_TIMEOUT_SECONDS, cwd=cwd)
    if code != 0:
        reason = f"`{' '.join(command)}` failed with code {code}:\n{last_lines(log_path)}"
        raise WorkerSetupError(reason, f"The whole output is in {log_path}")


@contextlib.contextmanager
def _locked(prefix: Path) -> Iterator[None]:
    """Let one process at a time work on an environment."""
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        lock = prefix.with_name(f".{prefix.name}.lock").open("w")
    except OSError as error:
        raise WorkerSetupError(f"{prefix.parent} cannot be written: {error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
