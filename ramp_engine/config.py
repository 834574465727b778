"""An event's file: its folders, its worker, its dispatcher.

`load_event` reads it, with the keys where RAMP's documentation has them: the three directories,
``n_workers`` and ``timeout`` may stand in ``worker`` as well. All problems are told at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ramp_database.config_file import ConfigFile, read
from ramp_database.config_validation import check, raise_all
from ramp_database.errors import ConfigError, nearest
from ramp_database.masking import mask
from ramp_engine.config_hooks import HookConfig, HookModel, read_hooks
from ramp_engine.config_places import MOVED, arrange, with_defaults
from ramp_engine.config_sections import (
    DispatcherSection,
    EvaluationSection,
    EventFile,
    RampSection,
    absolute,
    program,
)
from ramp_engine.errors import PluginError

__all__ = ["EventConfig", "WorkerModel", "hook_problems", "load_event"]

#: Gives the model of the keys of a worker type, or None when any key is taken as it is.
#: Raises `PluginError` for an unknown type.
WorkerModel = Callable[[str], type[BaseModel] | None]

# Keys of the section `worker` that name a program or a prefix: relative to the file, or bare names.
_PROGRAMS = ("python", "conda_env")


@dataclass(frozen=True)
class EventConfig:
    """What is configured for an event; all paths are absolute."""

    path: Path  #: the event's file
    directory: Path  #: its folder
    deployment_dir: Path  #: the folder that may hold ``ramp-kits`` and ``ramp-data``
    ramp: RampSection  #: the event's names and folders
    worker_type: str
    worker: dict[str, Any]  #: the keys of the worker
    evaluation: EvaluationSection  #: of the trusted steps: their environment, where it differs
    dispatcher: DispatcherSection
    hooks: tuple[HookConfig, ...] = ()  #: whom to tell how submissions fare

    def worker_config(self) -> dict[str, Any]:
        """Give the plain dict that a worker gets as its ``config``.

        Returns
        -------
        dict
            The keys of the section ``worker``, with the directories (str), ``n_workers``,
            ``n_threads``, ``n_jobs_per_submission``, ``fold_server``, ``timeout`` and
            ``time_between_collection`` (seconds) of the event, its name as ``event``, and as
            ``evaluation`` the interpreter of the trusted steps where one is given. The dispatcher
            puts the directories of an attempt in place of the event's.
        """
        directories = ("kit", "data", "submissions", "predictions", "logs", "work")
        return {
            **self.worker,
            "worker_type": self.worker_type,
            **{f"{name}_dir": str(getattr(self.ramp, f"{name}_dir")) for name in directories},
            "n_workers": self.dispatcher.n_workers,
            "n_threads": self.dispatcher.n_threads,
            "n_jobs_per_submission": self.dispatcher.n_jobs_per_submission,
            "fold_server": self.evaluation.fold_server,
            "evaluation": self.evaluation.model_dump(
                include={"python", "conda_env"}, exclude_none=True
            ),
            "event": self.ramp.event_name,
            "timeout": self.dispatcher.timeout,
            "time_between_collection": self.dispatcher.time_between_collection,
        }

    def to_printable(self) -> dict[str, dict[str, Any]]:
        """Give the configuration by section for printing: ready for JSON, secrets masked."""
        worker = {"worker_type": self.worker_type, **self.worker}
        sections = {
            "ramp": self.ramp.model_dump(mode="json"),
            "worker": {key: _plain(value) for key, value in worker.items()},
            "evaluation": self.evaluation.model_dump(mode="json", exclude_none=True),
            "dispatcher": self.dispatcher.model_dump(mode="json"),
        }
        if self.hooks:
            sections["hooks"] = {hook.name: _plain(hook.to_printable()) for hook in self.hooks}
        masked: dict[str, dict[str, Any]] = mask(sections)
        return masked


def load_event(
    path: Path,
    deployment_dir: Path | None = None,
    *,
    worker_model: WorkerModel | None = None,
    hook_model: HookModel | None = None,
    n_workers: int | None = None,
) -> EventConfig:
    """Read an event's file.

    Parameters
    ----------
    path : Path
        The file, usually ``events/<event>/config.yml``.
    deployment_dir : Path, optional
        The deployment's folder; default: two folders above the event's.
    worker_model : callable, optional
        From a worker type to the model of its keys. With it the keys of the worker are validated
        as well; without, they are taken as they are.
    hook_model : callable, optional
        The same for hooks. A dispatcher leaves it out: no hook is to be imported in its process.
    n_workers : int, optional
        Taken in place of the file's.

    Raises
    ------
    ConfigErrors
        With every problem of the file.
    """
    path = path.absolute()
    directory = path.parent
    deployment_dir = directory.parent.parent if deployment_dir is None else deployment_dir
    file, problems = arrange(read(path), directory)
    if n_workers is not None and isinstance(file.data["dispatcher"], dict):
        file.data["dispatcher"]["n_workers"] = n_workers
    model, of_type = _model_of(file, worker_model)
    _fill_dispatcher(file.data, model)
    ramp = with_defaults(file.data["ramp"], directory, deployment_dir.absolute())
    event, more = check(file, EventFile, file.data | {"ramp": ramp}, context=directory)
    keys, of_worker = _worker_keys(file, model, directory)
    hooks, of_hooks = read_hooks(file, directory, hook_model)
    raise_all([*file.problems, *problems, *more, *of_type, *of_worker, *of_hooks])
    assert event is not None  # noqa: S101 - without problems there is one
    return EventConfig(
        path=path,
        directory=directory,
        deployment_dir=deployment_dir.absolute(),
        ramp=event.ramp,
        worker_type=event.worker.worker_type,
        worker=keys,
        evaluation=event.evaluation,
        dispatcher=event.dispatcher,
        hooks=hooks,
    )


def hook_problems(path: Path, hook_model: HookModel) -> list[ConfigError]:
    """Tell what is wrong with the hooks of an event's file that is in order otherwise.

    Parameters
    ----------
    path : Path
        The event's file.
    hook_model : callable
        As of `load_event`.
    """
    directory = path.absolute().parent
    file, _ = arrange(read(path), directory)
    return read_hooks(file, directory, hook_model)[1]


def _fill_dispatcher(data: dict[str, Any], model: type[BaseModel] | None) -> None:
    """Put defaults into the section ``dispatcher`` that depend on the worker.

    Folds that have GPUs run one after another: they would share the memory of the submission's
    GPUs, which nobody shares out. A worker of other machines knows better than by our own cores.
    """
    worker, dispatcher = data["worker"], data["dispatcher"]
    if not (isinstance(worker, dict) and isinstance(dispatcher, dict)):
        return
    defaults = dict(getattr(model, "dispatcher_defaults", {}))
    if worker.get("gpus"):
        defaults.setdefault("n_jobs_per_submission", 1)
    for key, value in defaults.items():
        dispatcher.setdefault(key, value)


def _worker_keys(
    file: ConfigFile, model: type[BaseModel] | None, directory: Path
) -> tuple[dict[str, Any], list[ConfigError]]:
    """Give the keys of the worker as its model has them, and what is wrong with them."""
    section = file.data["worker"]
    if not isinstance(section, dict):
        return {}, []
    keys = {key: value for key, value in section.items() if key != "worker_type"}
    problems: list[ConfigError] = []
    if model is not None:
        keys |= {
            key: file.data[section][name]
            for key, (section, name) in MOVED.items()
            if key in model.model_fields and ("worker", key) in file.places
        }
        instance, problems = check(file, model, keys, at=("worker",))
        keys = keys if instance is None else instance.model_dump(exclude=set(MOVED))
    elsewhere: frozenset[str] = getattr(model, "paths_elsewhere", frozenset())
    located = {
        key: value if key in elsewhere else _located(key, value, directory)
        for key, value in keys.items()
    }
    return located, problems


def _model_of(
    file: ConfigFile, worker_model: WorkerModel | None
) -> tuple[type[BaseModel] | None, list[ConfigError]]:
    section = file.data["worker"]
    worker_type = section.get("worker_type") if isinstance(section, dict) else None
    if worker_model is None or not isinstance(worker_type, str):
        return None, []
    try:
        return worker_model(worker_type), []
    except PluginError as error:
        return None, [_unknown_type(file, error)]


def _unknown_type(file: ConfigFile, error: PluginError) -> ConfigError:
    known = ", ".join(sorted(error.known))
    expected = f"a known type of worker ({known})" if known else f"a worker that loads: {error}"
    suggestion = nearest(error.name, error.known)
    return file.error(("worker", "worker_type"), expected, suggestion=suggestion)


def _located(key: str, value: Any, directory: Path) -> Any:
    """Make a path of the section ``worker`` absolute, where it is known to be one."""
    if isinstance(value, list):
        return [_located(key, item, directory) for item in value]
    if isinstance(value, Path):
        return absolute(value, directory)
    if isinstance(value, dict):
        return {name: _located("", item, directory) for name, item in value.items()}
    if key in _PROGRAMS and isinstance(value, str):
        return program(value, directory)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value
