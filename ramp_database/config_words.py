"""Say in plain words what a field of a model takes: "a whole number of at least 1 or null"."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import annotated_types
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

__all__ = ["Expected", "describe", "describe_field", "join", "model_within"]

_PLAIN: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    SecretStr: "text",
    Path: "a path",
    datetime: "a date and time such as 2026-11-21T18:00:00+01:00",
    date: "a date such as 2026-11-21",
    timedelta: "a number of seconds",
    dict: "a section of keys",
    list: "a list",
    tuple: "a list",
    type(None): "null",
}


@dataclass(frozen=True)
class Expected:
    """Annotation of a field: what it takes, in words, where its type does not say it well."""

    words: str  #: completes the sentence "expected ..."


def describe_field(field: FieldInfo) -> str | None:
    """Say what a field takes, or give None when there are no plain words for its type."""
    return describe(field.annotation, tuple(field.metadata))


def describe(annotation: Any, metadata: tuple[Any, ...] = ()) -> str | None:
    """Say what an annotation takes, or give None when there are no plain words for it.

    Parameters
    ----------
    annotation : Any
        A type: plain, ``Annotated``, ``Literal``, a union or a model.
    metadata : tuple
        Constraints that belong to it, such as ``annotated_types.Ge``.
    """
    words = _alternatives(annotation, metadata)
    return None if None in words else join([word for word in words if word is not None])


def join(words: list[str]) -> str:
    """Join alternatives: "a, b or c"."""
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + " or " + words[-1]


def model_within(annotation: Any) -> type[BaseModel] | None:
    """Find the model that a field holds, through ``Annotated`` and ``| None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) is typing.Annotated or _is_union(annotation):
        for item in typing.get_args(annotation):
            model = model_within(item)
            if model is not None:
                return model
    return None


def _alternatives(annotation: Any, metadata: tuple[Any, ...]) -> list[str | None]:
    for item in metadata:
        if isinstance(item, Expected):
            return [item.words]
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        return _alternatives(arguments[0], (*metadata, *_flat(list(arguments[1:]))))
    if _is_union(annotation):
        return [word for item in arguments for word in _alternatives(item, metadata)]
    if typing.get_origin(annotation) is Literal:
        return [_literal(item) for item in arguments]
    return [_plain_words(typing.get_origin(annotation) or annotation, metadata)]


def _plain_words(base: Any, metadata: tuple[Any, ...]) -> str | None:
    if isinstance(base, type) and issubclass(base, BaseModel):
        return "a section of keys"
    words = _PLAIN.get(base)
    return None if words is None else words + _bounds(metadata, base)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _literal(value: object) -> str:
    return "null" if value is None else repr(value)


def _flat(metadata: list[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _bounds(metadata: tuple[Any, ...], base: Any) -> str:
    if base is type(None):
        return ""
    of = "items" if base in (list, tuple, dict) else "characters"
    parts = [words for words in (_bound(item, of) for item in metadata) if words]
    return "".join(
        f" {words}" if index == 0 else f" and {words}" for index, words in enumerate(parts)
    )


def _bound(item: Any, of: str) -> str | None:
    match item:
        case annotated_types.Ge(ge=limit):
            return f"of at least {limit}"
        case annotated_types.Gt(gt=limit):
            return f"above {limit}"
        case annotated_types.Le(le=limit):
            return f"of at most {limit}"
        case annotated_types.Lt(lt=limit):
            return f"below {limit}"
        case annotated_types.MaxLen(max_length=limit):
            return f"of at most {limit} {of}"
        case annotated_types.MinLen(min_length=1):
            return "that is not empty"
        case annotated_types.MinLen(min_length=limit):
            return f"of at least {limit} {of}"
    return None
