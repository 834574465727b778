"""Conda environments: find them by name, make and update them.

An environment is a prefix, a path; only names need a conda program, which may be conda, mamba or
micromamba. It is asked once and not once a submission: a call takes some 0.3 s.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ramp_engine.errors import WorkerSetupError, nearest
from ramp_engine.supervised import last_lines, run_logged

__all__ = ["create_conda_env", "find_program", "prefix_of", "update_conda_env"]

#: The longest time that listing the environments may take, in seconds.
LIST_TIMEOUT_SECONDS = 60.0
#: The longest time that making or updating an environment may take, in seconds.
CHANGE_TIMEOUT_SECONDS = 3600.0

_VARIABLES = ("CONDA_EXE", "MAMBA_EXE")
_NAMES = ("conda", "mamba", "micromamba")
#: They ask "Proceed?" otherwise.
_ASSENT = {"CONDA_ALWAYS_YES": "1", "MAMBA_ALWAYS_YES": "1"}
_NO_PROGRAM_HINT = (
    "Install conda, mamba or micromamba (or set CONDA_EXE), give the path of the environment as "
    "conda_env, or use worker_type: local"
)


def find_program() -> Path:
    """Find a conda program: ``$CONDA_EXE``, ``$MAMBA_EXE``, then on PATH.

    Raises
    ------
    WorkerSetupError
        There is none.
    """
    candidates = [os.environ.get(variable) for variable in _VARIABLES]
    candidates += [shutil.which(name) for name in _NAMES]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise WorkerSetupError("no conda program was found", _NO_PROGRAM_HINT)


def prefix_of(conda_env: str) -> Path:
    """Give the prefix of an environment.

    Parameters
    ----------
    conda_env : str
        A name, or the prefix itself: a path, with a slash. A path needs no conda program.

    Raises
    ------
    WorkerSetupError
        There is no such environment, or several; no conda program, or one that fails.
    """
    if "/" in conda_env:
        return Path(conda_env).expanduser().absolute()
    named = _environments(find_program())
    prefixes = [prefix for prefix, name in named.items() if name == conda_env]
    if len(prefixes) == 1:
        return prefixes[0]
    if prefixes:
        places = ", ".join(map(str, prefixes))
        reason = f"several conda environments are called {conda_env!r}: {places}"
        raise WorkerSetupError(reason, "Give the path of one as conda_env")
    raise _no_environment(conda_env, sorted(set(named.values())))


def create_conda_env(environment_yml: Path, name: str, log_path: Path) -> Path:
    """Make a conda environment.

    Parameters
    ----------
    environment_yml : Path
    name : str
        Name or prefix of the environment.
    log_path : Path
        Where the program's output goes.

    Returns
    -------
    Path
        The prefix.

    Raises
    ------
    WorkerSetupError
        No conda program, or it fails: with the last lines of what it said.
    """
    return _change("create", environment_yml, name, log_path)


def update_conda_env(environment_yml: Path, name: str, log_path: Path) -> Path:
    """Bring a conda environment up to date; parameters and errors as `create_conda_env`."""
    return _change("update", environment_yml, name, log_path)


def _change(action: str, environment_yml: Path, name: str, log_path: Path) -> Path:
    program = find_program()
    if not environment_yml.is_file():
        raise WorkerSetupError(f"there is no {environment_yml}", "Conda makes environments from it")
    option = "--prefix" if "/" in name else "--name"
    subcommand = [action] if _is_micromamba(program) else ["env", action]
    command = [str(program), *subcommand, "--file", str(environment_yml), option, name]
    code = run_logged(command, log_path, timeout_seconds=CHANGE_TIMEOUT_SECONDS, variables=_ASSENT)
    if code != 0:
        reason = f"`{' '.join(command)}` failed with code {code}:\n{last_lines(log_path)}"
        raise WorkerSetupError(reason, f"The whole output is in {log_path}")
    return prefix_of(name)


def _environments(program: Path) -> dict[Path, str]:
    """List the environments, prefix to name."""
    listing = ["env", "list"] if _is_micromamba(program) else ["info", "--envs"]
    command = [str(program), *listing, "--json"]
    with tempfile.TemporaryDirectory(prefix="ramp-conda-") as directory:
        output, errors = Path(directory, "stdout"), Path(directory, "stderr")
        code = run_logged(command, output, timeout_seconds=LIST_TIMEOUT_SECONDS, errors_path=errors)
        text, said = output.read_text(errors="replace"), last_lines(errors)
    try:
        return _parsed(json.loads(text))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        reason = f"`{' '.join(command)}` ended with code {code} and listed no environments"
        raise WorkerSetupError(f"{reason}: {said or text[:300]}", _NO_PROGRAM_HINT) from error


def _parsed(listing: dict[str, Any]) -> dict[Path, str]:
    details = listing.get("envs_details") or {}  # only newer conda gives names
    root = listing.get("root_prefix")
    return {
        Path(prefix): _name(prefix, root, details.get(prefix) or {}) for prefix in listing["envs"]
    }


def _name(prefix: str, root: str | None, details: dict[str, Any]) -> str:
    is_base = details.get("base") or prefix == root
    return str(details.get("name") or ("base" if is_base else Path(prefix).name))


def _no_environment(conda_env: str, names: Sequence[str]) -> WorkerSetupError:
    suggestion = nearest(conda_env, names)
    reason = f"there is no conda environment {conda_env!r}"
    reason += f"; did you mean {suggestion!r}?" if suggestion else ""
    reason += f" (there are: {', '.join(names)})" if names else ""
    hint = "Run `ramp setup create-conda-env --event-config ...`, or correct conda_env"
    return WorkerSetupError(reason, hint)


def _is_micromamba(program: Path) -> bool:
    return program.name.startswith("micromamba")
