"""Bring the keys of an event's file to the places where this program keeps them.

RAMP reads some keys in the section ``worker`` that belong to the event or its dispatcher. They are
accepted there, and moved; given in both places with two values, they are a problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ramp_database.config_file import ConfigFile, Location, Place
from ramp_database.errors import ConfigError

__all__ = ["MOVED", "arrange", "with_defaults"]

#: Keys of RAMP's section ``worker``: the section and the key that hold them here.
MOVED = {
    "submissions_dir": ("ramp", "submissions_dir"),
    "predictions_dir": ("ramp", "predictions_dir"),
    "logs_dir": ("ramp", "logs_dir"),
    "n_workers": ("dispatcher", "n_workers"),
    "timeout": ("dispatcher", "timeout"),
    "check_status_interval_secs": ("dispatcher", "time_between_collection"),
}
#: Other names that a type of worker has for a key in `MOVED`.
_SYNONYMS = {"ray": {"max_workers": MOVED["n_workers"]}}
_SECTIONS = ("ramp", "worker", "evaluation", "dispatcher", "hooks")
_STARTING_KIT = "starting_kit"


def arrange(file: ConfigFile, directory: Path) -> tuple[ConfigFile, list[ConfigError]]:
    """Move RAMP's keys of the section ``worker`` to where they belong.

    Parameters
    ----------
    file : ConfigFile
        An event's file as it was read. A section that is there but empty counts as one without
        keys.
    directory : Path
        Its folder: two directories are the same when they are so from there.

    Returns
    -------
    file : ConfigFile
        Every section present, and ``worker`` without the keys in `MOVED`. A moved key keeps its
        line and the name that it has in the file.
    problems : list of ConfigError
        Keys that are given twice, with different values.
    """
    data = {name: _copy(section) for name, section in file.data.items()}
    for name in _SECTIONS:
        if data.get(name) is None:
            data[name] = {}
    if isinstance(data["hooks"], dict):  # a hook needs no keys of its own
        data["hooks"] = _filled(data["hooks"])
    places = dict(file.places)
    problems = []
    for key, (section, name) in (MOVED | _synonyms(data["worker"])).items():
        worker, target = data["worker"], data[section]
        if not (isinstance(worker, dict) and isinstance(target, dict)) or key not in worker:
            continue
        value, at = worker.pop(key), ("worker", key)
        if name not in target:
            target[name] = value
            places[section, name] = places[at]
        elif not _is_same(value, target[name], directory):
            problems.append(_contradiction(file, at, (section, name), places))
    return replace(file, data=data, places=places), problems


def with_defaults(ramp: Any, directory: Path, deployment_dir: Path) -> Any:
    """Fill in the directories that the section ``ramp`` leaves out.

    Parameters
    ----------
    ramp : Any
        The section; what is not a section, or has no usable problem_name, is told elsewhere.
    directory : Path
        The event's folder.
    deployment_dir : Path
        The folder of ``ramp-kits`` and ``ramp-data``, taken where the event's folder has none.
    """
    if not isinstance(ramp, dict):
        return ramp
    ramp = {key: value for key, value in ramp.items() if value is not None}
    problem = str(ramp.get("problem_name", ""))
    defaults = {
        "kit_dir": _own_or_shared(directory / "kit", deployment_dir / "ramp-kits", problem),
        "data_dir": _own_or_shared(directory / "data", deployment_dir / "ramp-data", problem),
        **{f"{name}_dir": name for name in ("submissions", "predictions", "logs", "work")},
    }
    ramp = {key: str(value) for key, value in defaults.items()} | ramp
    sandbox = ramp.get("sandbox_dir", _STARTING_KIT)
    if isinstance(sandbox, str) and "/" not in sandbox and isinstance(ramp["kit_dir"], str):
        sandbox = f"{ramp['kit_dir']}/submissions/{sandbox}"
    return ramp | {"sandbox_dir": sandbox}


def _synonyms(worker: Any) -> dict[str, tuple[str, str]]:
    worker_type = worker.get("worker_type") if isinstance(worker, dict) else None
    return _SYNONYMS.get(worker_type, {}) if isinstance(worker_type, str) else {}


def _copy(section: Any) -> Any:
    return dict(section) if isinstance(section, dict) else section


def _filled(hooks: dict[str, Any]) -> dict[str, Any]:
    return {name: {} if keys is None else keys for name, keys in hooks.items()}


def _own_or_shared(own: Path, shared: Path, problem: str) -> Path:
    return own if own.is_dir() or not problem else shared / problem


def _is_same(one: Any, other: Any, directory: Path) -> bool:
    if isinstance(one, str) and isinstance(other, str) and "/" in one + other:
        return (directory / one).resolve() == (directory / other).resolve()
    return bool(one == other) or str(one) == str(other)


def _contradiction(
    file: ConfigFile, at: Location, other: Location, places: Mapping[Location, Place]
) -> ConfigError:
    place = places[other]  # as it was arranged: it may stand in `worker` itself
    expected = f"what {place.key} says in line {place.line}: {place.text}"
    return file.error(at, expected)
