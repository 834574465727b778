"""The keys of config.yml, from the models that check them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ramp_database.config import DatabaseConfig
from ramp_database.config_words import describe, model_within
from ramp_engine.config_hooks import HookSection
from ramp_engine.config_sections import EventFile
from ramp_engine.registry import hook_class, known_hooks, known_workers, worker_class
from wording import inline, sentence, table

__all__ = [
    "Key",
    "deployment_sections",
    "event_sections",
    "hooks",
    "keys",
    "unit_of",
    "workers",
]

_HEAD = ("key", "takes", "default", "unit", "meaning")
#: A unit, and how a key's name, or the beginning of its description, tells that it is meant.
_UNITS = {
    "s": (r"_seconds$|_secs$|timeout$", "Seconds"),
    "min": (r"_minutes$", "Minutes"),
    "h": (r"_hours$", "Hours"),
    "MB": (r"_mb$|^memory$", "MB"),
}


@dataclass(frozen=True)
class Key:
    """A key of a section."""

    name: str  #: dotted, such as ``limits.memory_mb``
    takes: str  #: its type in words
    default: str  #: as it would be written in the file; ``required`` without one
    unit: str  #: of a number; empty: a count, or no number
    meaning: str  #: a sentence or two


def event_sections() -> str:
    """Describe the sections of an event's file, but for the keys of workers."""
    parts = []
    for name, field in EventFile.model_fields.items():
        model = model_within(field.annotation)
        if model is not None:  # hooks stand under names of the organiser's own, see `hooks`
            parts.append(f"### `{name}`\n\n{_about(model)}\n\n{_table(model)}")
    return "\n".join(parts)


def deployment_sections() -> str:
    """Describe the sections of a deployment's file."""
    return f"### `sqlalchemy`\n\n{_about(DatabaseConfig)}\n\n{_table(DatabaseConfig)}"


def workers() -> str:
    """Describe the keys of every worker that comes with ramp."""
    parts = []
    for name, plugin in known_workers().items():
        model = worker_class(name).config_model
        if plugin.target.startswith("ramp_engine.") and model is not None:
            parts.append(f"### `worker_type: {name}`\n\n{_about(model)}\n\n{_table(model)}")
    return "\n".join(parts)


def hooks() -> str:
    """Describe the keys that all hooks have, and those of every hook that comes with ramp."""
    parts = [f"### `hooks`\n\n{_about(HookSection)}\n\n{_table(HookSection)}"]
    for name, plugin in known_hooks().items():
        model = hook_class(name).config_model
        if plugin.target.startswith("ramp_engine.") and model is not None:
            parts.append(f"### `hook_type: {name}`\n\n{_about(model)}\n\n{_table(model)}")
    return "\n".join(parts)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """List the keys of a section, those of sections within it behind a dot."""
    for name, field in model.model_fields.items():
        inner = model_within(field.annotation)
        yield _key(f"{prefix}{name}", field, inner is not None)
        if inner is not None:
            yield from keys(inner, f"{prefix}{name}.")


def unit_of(name: str, field: FieldInfo) -> str:
    """Give the unit of a key, as its name tells it or else its description."""
    if not re.search(r"\b(int|float)\b", str(field.annotation)):
        return ""
    for unit, (pattern, word) in _UNITS.items():
        if re.search(pattern, name) or (field.description or "").startswith(word):
            return unit
    return ""


def _key(name: str, field: FieldInfo, is_section: bool) -> Key:
    takes = "a section of keys" if is_section else describe(field.annotation, tuple(field.metadata))
    return Key(
        name=name,
        takes=(takes or "see there").removesuffix(" or null"),
        default=_default(field, is_section),
        unit=unit_of(name, field),
        meaning=sentence(inline(field.description or "")),
    )


def _default(field: FieldInfo, is_section: bool) -> str:
    if "default: " in (field.description or ""):
        return ""  # one that depends on other keys: it is in the words
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if is_section else f"`{_as_written(value)}`"


def _as_written(value: Any) -> str:
    """Write a value as it stands in a file."""
    if isinstance(value, Enum):
        return _as_written(value.value)
    if isinstance(value, str | Path):
        return str(value) or '""'
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, default=str)


def _about(model: type[BaseModel]) -> str:
    return inline((model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " "))


def _table(model: type[BaseModel]) -> str:
    rows = ((f"`{key.name}`", key.takes, key.default, key.unit, key.meaning) for key in keys(model))
    return table(_HEAD, rows)
