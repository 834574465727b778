"""The section ``hooks`` of an event's file: a name for each hook, and its keys under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from ramp_database.config_file import ConfigFile
from ramp_database.config_validation import OpenSection, check
from ramp_database.errors import ConfigError, nearest
from ramp_engine.config_sections import Seconds
from ramp_engine.errors import PluginError
from ramp_engine.hooks import CALLS, CallName

__all__ = ["HookConfig", "HookModel", "HookSection", "read_hooks"]

#: Gives the model of the keys of a hook type, or None when any key is taken as it is.
#: Raises `PluginError` for an unknown type, and for one that fails to load.
HookModel = Callable[[str], type[BaseModel] | None]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class HookSection(OpenSection):
    """The keys that every hook has in the section ``hooks``, beside those of its type."""

    hook_type: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="Name of an installed hook, as `ramp hooks` lists them, or "
        "package.module:Class; default: the name under which it stands.",
    )
    calls: Annotated[list[CallName], BeforeValidator(_as_list)] = Field(
        default=list(CALLS),
        description="What the hook is told of: before_launch, after_scoring, on_failure; default: "
        "all that it implements.",
    )
    timeout_seconds: Seconds = Field(
        default=10.0, description="Seconds that one call may take before it is ended."
    )


@dataclass(frozen=True)
class HookConfig:
    """A hook that an event names."""

    name: str  #: under which it stands in the file
    hook_type: str
    calls: frozenset[CallName]  #: of these it is told, where it implements them
    timeout_seconds: float  #: of one call
    keys: Mapping[str, Any]  #: its own, as the file has them

    def to_printable(self) -> dict[str, Any]:
        """Give its keys as they are understood; secrets are to be masked."""
        calls = [name for name in CALLS if name in self.calls]
        common = {"hook_type": self.hook_type, "calls": calls}
        return {**common, "timeout_seconds": self.timeout_seconds, **self.keys}


def read_hooks(
    file: ConfigFile, directory: Path, hook_model: HookModel | None
) -> tuple[tuple[HookConfig, ...], list[ConfigError]]:
    """Read the section ``hooks``.

    Parameters
    ----------
    file : ConfigFile
        The event's file; that its section is a mapping is seen to elsewhere.
    directory : Path
        Its folder.
    hook_model : callable or None
        With it the keys of each hook are validated as well.
    """
    section = file.data["hooks"]
    hooks: list[HookConfig] = []
    problems: list[ConfigError] = []
    for name, keys in section.items() if isinstance(section, dict) else ():
        hook, more = _read(file, str(name), keys, directory)
        problems += more if hook is None else _of_keys(file, hook, directory, hook_model)
        hooks += [] if hook is None else [hook]
    return tuple(hooks), problems


def _read(
    file: ConfigFile, name: str, keys: Any, directory: Path
) -> tuple[HookConfig | None, list[ConfigError]]:
    if not isinstance(keys, dict):
        return None, [file.error(("hooks", name), "a section of keys")]
    common = {key: value for key, value in keys.items() if key in HookSection.model_fields}
    section, problems = check(file, HookSection, common, at=("hooks", name), context=directory)
    if section is None:
        return None, problems
    own = {key: value for key, value in keys.items() if key not in common}
    calls = frozenset(section.calls)
    return HookConfig(name, section.hook_type or name, calls, section.timeout_seconds, own), []


def _of_keys(
    file: ConfigFile, hook: HookConfig, directory: Path, hook_model: HookModel | None
) -> list[ConfigError]:
    """Tell what is wrong with the type of a hook, or with the keys of that type."""
    at = ("hooks", hook.name)
    if hook_model is None:
        return []
    try:
        model = hook_model(hook.hook_type)
    except PluginError as error:
        place = (*at, "hook_type") if (*at, "hook_type") in file.places else at
        known = ", ".join(sorted(error.known))
        expected = f"a known type of hook ({known})" if known else f"a hook that loads: {error}"
        suggestion = nearest(error.name, error.known)
        return [file.error(place, expected, found=repr(hook.hook_type), suggestion=suggestion)]
    if model is None:
        return []
    return check(file, model, hook.keys, at=at, context=directory)[1]
