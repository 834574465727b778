"""What keys a model takes, for people: of a worker, of a hook, of a section of an event's file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from ramp_database.config_words import describe_field, model_within

__all__ = ["Key", "keys_of"]


@dataclass(frozen=True)
class Key:
    """A key of a model."""

    name: str  #: ``limits.memory_mb`` for one within a section of keys
    takes: str  #: in words, such as ``a number above 0 or null``
    is_required: bool
    default: Any  #: as JSON knows it; None as well when it is required
    description: str  #: with the unit

    @property
    def default_text(self) -> str:
        """The default as it would stand in a file."""
        if self.is_required:
            return "(required)"
        return self.default if isinstance(self.default, str) else json.dumps(self.default)


def keys_of(model: type[BaseModel]) -> tuple[Key, ...]:
    """List the keys of a model in its order, those of the sections within it after their own."""
    return tuple(_keys(model, "", ()))


def _keys(model: type[BaseModel], prefix: str, above: tuple[type[BaseModel], ...]) -> Iterator[Key]:
    above = (*above, model)  # one that holds itself is told once
    for name, field in model.model_fields.items():
        inner = model_within(field.annotation)
        yield _key(prefix + name, field, is_section=inner is not None)
        if inner is not None and inner not in above:
            yield from _keys(inner, f"{prefix}{name}.", above)


def _key(name: str, field: FieldInfo, *, is_section: bool) -> Key:
    required = field.is_required()
    default = None if required else _default(field)
    if is_section and default is not None:
        default = {}  # its keys tell their own
    takes = describe_field(field) or _type_name(field.annotation)
    default = to_jsonable_python(default, fallback=str)
    return Key(name, takes, required, default, field.description or "")


def _default(field: FieldInfo) -> Any:
    if getattr(field, "default_factory_takes_validated_data", False):  # pydantic 2.10 has it
        return "(made of other keys)"
    return field.get_default(call_default_factory=True)


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(repr(item.value) for item in annotation)
    name: str = getattr(annotation, "__name__", str(annotation))
    return name
