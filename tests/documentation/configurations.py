"""Configurations as documentation shows them, held against the program's own loaders."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from ramp_database.config import load_deployment
from ramp_database.errors import ConfigErrors
from ramp_engine.config import load_event
from ramp_engine.config_sections import EventFile
from ramp_engine.registry import hook_class, known_hooks, worker_class
from tests.documentation.pages import REPOSITORY, Block, blocks

_NAMES = {"problem_name": "documented", "event_name": "documented"}


def configurations(page: Path) -> Iterator[tuple[Block, str]]:
    """Give each configuration of a page and the type of worker that it is about."""
    worker_type = "local"
    for block in blocks(page, "yaml"):
        data = yaml.safe_load(block.text)
        worker = data.get("worker") if isinstance(data, dict) else None
        if isinstance(worker, dict):
            worker_type = worker.get("worker_type", worker_type)
        yield block, worker_type


def complaints(text: str, worker_type: str, directory: Path) -> list[str]:
    """Say what is wrong with a configuration.

    Parameters
    ----------
    text : str
        A whole file, or some sections: what is required and stands elsewhere may be missing then.
    worker_type : str
        What the section ``worker`` is about, where it does not say so itself.
    directory : Path
        A folder of its own, to which a file is written.
    """
    data = yaml.safe_load(text)
    if not isinstance(data, dict):
        return ["it is no section of a configuration; blocks of other kinds are not yaml but text"]
    path = directory / "config.yml"
    if data.keys().isdisjoint(EventFile.model_fields):
        path.write_text(text)
        return _told(lambda: load_deployment(path)) + _unknown(data)
    is_whole = "ramp" in data
    worker = data.get("worker") or {}
    if isinstance(worker, dict):
        data["worker"] = {"worker_type": worker_type} | worker
    if not is_whole:
        data["ramp"] = _NAMES
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return _told(lambda: load_event(path, worker_model=_model, hook_model=_hook_model), is_whole)


def _told(read: Any, is_whole: bool = True) -> list[str]:
    try:
        read()
    except ConfigErrors as problems:
        told = [(error.found, f"{error.key}: {error}") for error in problems.errors]
        return [text for found, text in told if is_whole or found != "nothing"]
    return []


def _unknown(data: Mapping[str, Any]) -> list[str]:
    return [f"{name}: no section of ours" for name in data if name != "sqlalchemy"]


def _model(worker_type: str) -> type[BaseModel] | None:
    """Give the model of a worker's keys: of an installed one, or one of the examples."""
    examples = dict(_examples())
    if worker_type in examples:
        return worker_class(examples[worker_type]).config_model
    return None if ":" in worker_type else worker_class(worker_type).config_model


def _hook_model(hook_type: str) -> type[BaseModel] | None:
    """Give the model of a hook's keys; one that a page has its readers write takes any."""
    return hook_class(hook_type).config_model if hook_type in known_hooks() else None


def _examples() -> Iterator[tuple[str, str]]:
    for path in (REPOSITORY / "examples").glob("*/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        source = str(path.parent / "src")
        if source not in sys.path:
            sys.path.append(source)
        yield from project.get("entry-points", {}).get("ramp_engine.workers", {}).items()
