"""Turn the nodes of a YAML file into values, each with its place, variables filled in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ramp_database.errors import ConfigError
from ramp_database.masking import MASK, is_secret, mask_text

__all__ = ["Location", "NodeReader", "Place", "dotted", "quoted"]

#: The keys (and, within lists, the indices from 0) that lead to a value.
Location = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$(\$?)\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")
_STANDARD_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_N_LEVELS_OF_NAMES = 2  # sections and their keys; what a plugin nests below may have any keys
_LONGEST_QUOTE = 80  # characters of a value that a message repeats


@dataclass(frozen=True)
class Place:
    """Where a value stands, and what is written there."""

    key: str  #: the dotted key, as written
    line: int  #: from 1
    text: str  #: the value as written, quoted for a message, secrets masked


def dotted(location: Location) -> str:
    """Write a location as ``worker.nodes[0].host``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def quoted(value: object, location: Location = ()) -> str:
    """Write a value for a message: quoted, cut when long, ``***`` under a secret key."""
    if value is None:
        return "nothing"
    if any(is_secret(part) for part in location if isinstance(part, str)):
        return f"'{MASK}'"
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "a list"
    number = f"{value:g}" if isinstance(value, float) else str(value)
    text = mask_text(value if isinstance(value, str) else number)
    if len(text) > _LONGEST_QUOTE:
        text = text[:_LONGEST_QUOTE] + "..."
    return repr(text) if isinstance(value, str) else text


class NodeReader:
    """Turn the nodes of one file into values, and remember where they stand.

    Parameters
    ----------
    path : Path
        The file, for messages.

    Attributes
    ----------
    places : dict
        Where each value stands.
    problems : list of ConfigError
        What leaves the rest of the file readable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[Location, Place] = {}
        self.problems: list[ConfigError] = []
        self._loader = yaml.SafeLoader("")
        self._open: set[int] = set()  # nodes around the current one: a section may hold itself
        self._checked: set[int] = set()  # sections whose keys were compared, before merges

    def value(self, node: yaml.Node, location: Location) -> Any:
        """Give the value of `node`, which stands at `location`."""
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, location)
        if id(node) in self._open:
            self._problem(node, location, "a section that does not hold itself")
            return None
        if node.tag not in _STANDARD_TAGS:
            self._problem(node, location, "a plain section or list", f"the tag {node.tag!r}")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, location)
            return [
                self._item(item, item, (*location, index)) for index, item in enumerate(node.value)
            ]
        finally:
            self._open.discard(id(node))

    def _item(self, start: yaml.Node, node: yaml.Node, location: Location) -> Any:
        line = start.start_mark.line + 1
        self.places[location] = Place(dotted(location), line, _written(node, location))
        return self.value(node, location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[Any, Any]:
        self._check_keys(node, location)
        try:
            self._loader.flatten_mapping(node)
        except yaml.constructor.ConstructorError:
            self._problem(node, location, "a section after `<<:`", "something else")
        values = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                key = self._key(key_node, location)
                values[key] = self._item(key_node, value_node, (*location, key))
            else:
                self._problem(key_node, location, "a name as key", "a list or section")
        return values

    def _check_keys(self, node: yaml.MappingNode, location: Location) -> None:
        if id(node) in self._checked:
            return
        self._checked.add(id(node))
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value in lines:
                found = f"it in line {lines[key_node.value]} as well"
                self._problem(key_node, (*location, key_node.value), "the key once", found)
            elif isinstance(key_node, yaml.ScalarNode):
                lines[key_node.value] = key_node.start_mark.line + 1

    def _key(self, node: yaml.ScalarNode, location: Location) -> Any:
        is_name = node.tag in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:null")
        if is_name or len(location) < _N_LEVELS_OF_NAMES:
            return node.value  # also `on:`, `no:` and `1:`
        return self._construct(node, location)

    def _scalar(self, node: yaml.ScalarNode, location: Location) -> Any:
        if "${" not in node.value:
            return self._construct(node, location)
        return _VARIABLE.sub(lambda match: self._variable(match, node, location), node.value)

    def _variable(self, match: re.Match[str], node: yaml.Node, location: Location) -> str:
        escape, name = match.groups()
        if escape:
            return match[0][1:]
        if name is None:
            expected = "a variable such as ${NAME} ($${ stands for a plain ${)"
            self._problem(node, location, expected, _written(node, location))
        elif name not in os.environ:
            expected = f"the environment variable {name} to be set"
            self._problem(node, location, expected, "that it is not")
        else:
            return os.environ[name]
        return match[0]

    def _construct(self, node: yaml.ScalarNode, location: Location) -> Any:
        try:
            return self._loader.construct_object(node)
        except (yaml.constructor.ConstructorError, ValueError):
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            self._problem(node, location, f"a value that can be read as {kind}")
            return node.value

    def _problem(
        self, node: yaml.Node, location: Location, expected: str, found: str | None = None
    ) -> None:
        line = node.start_mark.line + 1
        if found is None:
            found = _written(node, location)
        key = dotted(location)
        self.problems.append(ConfigError(self.path, key, expected, found=found, line=line))


def _written(node: yaml.Node, location: Location) -> str:
    """Write a value as it stands in the file, variables not filled in."""
    if not isinstance(node, yaml.ScalarNode):
        return quoted({} if isinstance(node, yaml.MappingNode) else [], location)
    if node.tag == "tag:yaml.org,2002:null":
        return "nothing"
    text = quoted(node.value, location)
    is_text = node.tag == "tag:yaml.org,2002:str" or is_secret(location[-1] if location else "")
    return text if is_text else node.value
