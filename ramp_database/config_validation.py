"""Hold a config file against a model, and tell every problem of it at once, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ramp_database.config_file import ConfigFile, Location, quoted
from ramp_database.config_words import describe_field, model_within
from ramp_database.errors import ConfigError, ConfigErrors, nearest

__all__ = ["OpenSection", "Section", "check", "raise_all", "validate"]

_Model = TypeVar("_Model", bound=BaseModel)


class Section(BaseModel):
    """Base of the sections whose keys are all known: another key is an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class OpenSection(BaseModel):
    """Base of the sections that pass unknown keys on as they are."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)


def validate(file: ConfigFile, model: type[_Model], context: object = None) -> _Model:
    """Make `model` of a whole file.

    Raises
    ------
    ConfigErrors
        With every problem of the file, those found while reading it included.
    """
    instance, problems = check(file, model, file.data, context=context)
    raise_all([*file.problems, *problems])
    assert instance is not None  # noqa: S101 - without problems there is one
    return instance


def check(
    file: ConfigFile,
    model: type[_Model],
    data: Mapping[str, Any],
    *,
    at: Location = (),
    context: object = None,
) -> tuple[_Model | None, list[ConfigError]]:
    """Make `model` of a part of a file, or tell every problem of that part.

    Parameters
    ----------
    file : ConfigFile
        Where `data` comes from; it knows the lines.
    model : type of BaseModel
        What the data should be.
    data : mapping
        The values, which may have been rearranged.
    at : Location
        Where `data` stands in the file.
    context : object
        Given to the validators of the model.

    Returns
    -------
    instance : BaseModel or None
        None when there are problems.
    problems : list of ConfigError
    """
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    told = {problem.key for problem in file.problems}
    return None, [
        problem
        for problem, kind in _problems(file, model, at, details)
        if problem.key not in told or kind == "extra_forbidden"
    ]


def _problems(
    file: ConfigFile, model: type[BaseModel], at: Location, details: list[ErrorDetails]
) -> Iterator[tuple[ConfigError, str]]:
    for detail in details:
        yield _Problem(file, model, at, detail).error(), detail["type"]


def raise_all(problems: Iterable[ConfigError]) -> None:
    """Raise `ConfigErrors` when there are problems: in the order of the lines, each once."""
    distinct = {str(problem): problem for problem in problems}
    if distinct:
        raise ConfigErrors(sorted(distinct.values(), key=lambda problem: problem.line or 0))


class _Problem:
    """One of pydantic's errors, on its way to plain words."""

    def __init__(
        self, file: ConfigFile, model: type[BaseModel], at: Location, detail: ErrorDetails
    ) -> None:
        self.file = file
        self.model = model
        self.detail = detail
        self.at = at
        self.location = self._trimmed(at + tuple(detail["loc"]))

    def error(self) -> ConfigError:
        """Tell it."""
        match self.detail["type"]:
            case "extra_forbidden":
                return self._unknown_key(self.location)
            case "missing":
                return self._missing()
            case "value_error":
                expected = str(self.detail["ctx"]["error"])
            case _:
                expected = self._expected()
        found = None
        if self.location not in self.file.places:
            found = quoted(self.detail["input"], self.location)
            found += "" if self.location == self.at else " (the default)"
        return self.file.error(self.location, expected, found=found)

    def _missing(self) -> ConfigError:
        section, name = self.location[:-1], str(self.location[-1])
        unknown = [
            key
            for key in self._written_keys(section)
            if key not in self._model_at(section).model_fields
        ]
        misspelt = nearest(name, unknown)
        if misspelt is not None:
            return self.file.error(
                (*section, misspelt), "a known key", found=repr(misspelt), suggestion=name
            )
        expected = f"{self._expected()}, as this key is required"
        return self.file.error(self.location, expected, found="nothing")

    def _unknown_key(self, location: Location) -> ConfigError:
        *section, name = location
        known = list(self._model_at(tuple(section)).model_fields)
        suggestion = nearest(str(name), known) or self._elsewhere(str(name))
        expected = "a known key" if suggestion else "one of the keys " + ", ".join(known)
        return self.file.error(location, expected, found=repr(name), suggestion=suggestion)

    def _elsewhere(self, name: str) -> str | None:
        """Find the section of the file to which a misplaced key belongs."""
        for section, field in self.model.model_fields.items():
            model = model_within(field.annotation)
            if model is not None and name in model.model_fields:
                return f"{section}.{name}"
        return None

    def _expected(self) -> str:
        field = self._field(self.location[len(self.at) :])
        words = describe_field(field) if field is not None else None
        if words is not None:
            return words
        message = self.detail["msg"].removeprefix("Input should be ")
        return message[:1].lower() + message[1:]

    def _written_keys(self, section: Location) -> list[str]:
        length = len(section) + 1
        return [
            str(place[-1])
            for place in self.file.places
            if len(place) == length and place[:-1] == section
        ]

    def _trimmed(self, location: Location) -> Location:
        """Cut what pydantic appends to a key, such as the branch of a union."""
        while len(location) > len(self.at) and location not in self.file.places:
            if self._field(location[len(self.at) :]) is not None:
                break
            location = location[:-1]
        return location

    def _field(self, location: Location) -> FieldInfo | None:
        if not location:
            return None
        return self._model_at(self.at + location[:-1]).model_fields.get(str(location[-1]))

    def _model_at(self, location: Location) -> type[BaseModel]:
        model = self.model
        for part in location[len(self.at) :]:
            field = model.model_fields.get(str(part))
            inner = None if field is None else model_within(field.annotation)
            if inner is None:
                return BaseModel
            model = inner
        return model
