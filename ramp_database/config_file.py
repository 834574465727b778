"""Read a YAML file so that every problem in it can be told with its line.

`read` gives a `ConfigFile`: the values, with ``${VARIABLE}`` taken from the environment, and where
each of them stands. `ramp_database.config_validation` holds it against a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ramp_database.config_nodes import Location, NodeReader, Place, dotted, quoted
from ramp_database.errors import ConfigError, ConfigErrors

__all__ = ["ConfigFile", "Location", "Place", "dotted", "quoted", "read"]


@dataclass(frozen=True)
class ConfigFile:
    """A YAML file that was read."""

    path: Path  #: the file
    data: dict[str, Any]  #: its values
    places: Mapping[Location, Place]  #: where each value stands
    problems: tuple[ConfigError, ...] = ()  #: keys given twice, missing variables and the like

    def line(self, location: Location) -> int | None:
        """Give the line of `location`, or of the section around it when it is not in the file."""
        for end in range(len(location), 0, -1):
            if location[:end] in self.places:
                return self.places[location[:end]].line
        return None

    def error(
        self,
        location: Location,
        expected: str,
        *,
        found: str | None = None,
        suggestion: str | None = None,
    ) -> ConfigError:
        """Make the error for a value of this file.

        Parameters
        ----------
        location : Location
            Where it is, or should have been.
        expected : str
            What would have been right.
        found : str, optional
            What is there; default: the value as written.
        suggestion : str, optional
            The nearest known key.
        """
        place = self.places.get(location)
        if found is None and place is not None:
            found = place.text
        key = place.key if place is not None else dotted(location)
        line = self.line(location)
        return ConfigError(self.path, key, expected, found=found, line=line, suggestion=suggestion)


def read(path: Path) -> ConfigFile:
    """Read a YAML file whose top level is made of sections.

    Parameters
    ----------
    path : Path
        The file, in UTF-8.

    Returns
    -------
    ConfigFile
        With the problems that leave the rest of the file readable in ``problems``: keys given
        twice, variables that are not set, tags and keys that are not plain.

    Raises
    ------
    ConfigErrors
        The file is missing, unreadable, not UTF-8, not YAML, empty, or not made of sections.
    """
    text = _text(path)
    try:
        return _read(path, text)
    except yaml.YAMLError as error:
        raise ConfigErrors([_syntax_error(path, text, error)]) from error
    except RecursionError as error:
        raise ConfigErrors([ConfigError(path, "", "fewer levels within each other")]) from error


def _read(path: Path, text: str) -> ConfigFile:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        raise ConfigErrors([ConfigError(path, "", "sections of keys", found="an empty file")])
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        line = root.start_mark.line + 1
        raise ConfigErrors([ConfigError(path, "", "sections of keys", found=kind, line=line)])
    reader = NodeReader(path)
    data = reader.value(root, ())
    return ConfigFile(path, data, reader.places, tuple(reader.problems))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigErrors([ConfigError(path, "", "a config file", found="none")]) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problem = ConfigError(path, "", "a file that can be read", found=f"an error: {reason}")
        raise ConfigErrors([problem]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{content[error.start]:02x}"
        raise ConfigErrors(
            [ConfigError(path, "", "text in UTF-8", found=found, line=line)]
        ) from error


def _syntax_error(path: Path, text: str, error: yaml.YAMLError) -> ConfigError:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        found = f"the character U+{ord(text[error.position]):04X}"
        return ConfigError(path, "", "plain text", found=found, line=line)
    if not isinstance(error, yaml.MarkedYAMLError):
        return ConfigError(path, "", "valid YAML")
    problem = error.problem or error.context or "it cannot be read"
    mark = error.problem_mark or error.context_mark
    if "end of stream" in problem and error.context_mark is not None:
        mark = error.context_mark  # where the quote or bracket opens, not the end of the file
    for known in (error.problem_mark, error.context_mark):
        if known is not None:
            known.buffer = None  # a traceback would print the line, which may hold a secret
    at = None if mark is None else mark.line + 1
    if "'\\t'" in problem:
        return ConfigError(path, "", "spaces for indentation", found="a tab", line=at)
    context = f"{error.context}: " if error.context else ""
    return ConfigError(path, "", f"valid YAML ({context}{problem})", line=at)
