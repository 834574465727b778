"""Which workers and hooks there are: installed plugins, and classes that are named in full.

Plugins are found by entry point, built-in ones the same way as everybody's. Nothing is imported
before it is asked for, so that a plugin that fails to load harms nobody else.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from ramp_engine.base import BaseWorker
from ramp_engine.errors import PluginError
from ramp_engine.hooks import Hook

__all__ = ["HOOKS", "WORKERS", "Kind", "Plugin", "hook_class", "known_hooks", "known_workers"]
__all__ += ["worker_class"]

logger = logging.getLogger(__name__)

_Base = TypeVar("_Base")


@dataclass(frozen=True)
class Plugin:
    """A worker or a hook that is installed, not loaded yet."""

    name: str  #: the ``worker_type`` or ``hook_type``
    target: str  #: ``package.module:Class``
    origin: str  #: name and version of the distribution that brings it


@dataclass(frozen=True)
class Kind(Generic[_Base]):
    """A kind of plugin."""

    group: str  #: the entry point group in which a package announces them
    key: str  #: of an event's file, that names one
    base: type[_Base]  #: of which each is a subclass

    def known(self) -> dict[str, Plugin]:
        """List the installed plugins by name; nothing is imported."""
        found: dict[str, Plugin] = {}
        for entry_point in sorted(entry_points(group=self.group), key=_place):
            target = entry_point.value.partition("[")[0].strip()  # without extras
            plugin = Plugin(entry_point.name, target, _origin(entry_point))
            first = found.setdefault(plugin.name, plugin)
            if first.target != plugin.target:
                extra = {"plugin": plugin.name, "taken": first.target, "ignored": plugin.target}
                logger.warning("two plugins bring the same %s", self.key, extra=extra)
        return found

    def find(self, name: str) -> Plugin:
        """Find a plugin by its name, or take ``package.module:Class`` for one.

        Raises
        ------
        PluginError
            There is none; the error knows those that there are.
        """
        if ":" in name:
            return Plugin(name, name, "")
        known = self.known()
        if name not in known:
            reason = f"there is no such {self.key.removesuffix('_type')}"
            raise PluginError(name, reason, tuple(known), key=self.key)
        return known[name]

    def load(self, plugin: Plugin) -> type[_Base]:
        """Import the class of a plugin.

        Raises
        ------
        PluginError
            Its module cannot be imported; it is not of this kind; it is abstract.
        """
        module_name, _, attribute = plugin.target.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
            for name in attribute.split("."):  # a class may stand in another one
                found = getattr(found, name, None)
        except (Exception, SystemExit) as error:  # around a plugin: its import may raise anything
            reason = f"{module_name} fails to load: {type(error).__name__}: {error}"
            raise PluginError(plugin.name, reason, key=self.key) from error
        if found is None:
            raise PluginError(plugin.name, f"{module_name} has no {attribute!r}", key=self.key)
        return self._checked(plugin, found)

    def _checked(self, plugin: Plugin, found: Any) -> type[_Base]:
        is_one = isinstance(found, type) and issubclass(found, self.base)
        if not is_one:
            expected = f"{self.base.__module__}.{self.base.__qualname__}"
            reason = f"{plugin.target} is not a subclass of {expected}"
            raise PluginError(plugin.name, reason, key=self.key)
        if inspect.isabstract(found):
            missing = ", ".join(sorted(found.__abstractmethods__))
            reason = f"{plugin.target} does not implement {missing}"
            raise PluginError(plugin.name, reason, key=self.key)
        checked: type[_Base] = found
        return checked


#: The workers, where submissions run.
WORKERS = Kind("ramp_engine.workers", "worker_type", BaseWorker)  # type: ignore[type-abstract]
#: The hooks, which are told how submissions fare.
HOOKS = Kind("ramp_engine.hooks", "hook_type", Hook)


def known_workers() -> dict[str, Plugin]:
    """List the installed workers by ``worker_type``; nothing is imported."""
    return WORKERS.known()


def known_hooks() -> dict[str, Plugin]:
    """List the installed hooks by ``hook_type``; nothing is imported."""
    return HOOKS.known()


def worker_class(worker_type: str) -> type[BaseWorker]:
    """Give the class of a worker.

    Parameters
    ----------
    worker_type : str
        Name of an installed worker, or ``package.module:Class``.

    Raises
    ------
    PluginError
        No such worker; its module cannot be imported; it is not a `BaseWorker`.
    """
    return WORKERS.load(WORKERS.find(worker_type))


def hook_class(hook_type: str) -> type[Hook]:
    """Give the class of a hook.

    Parameters
    ----------
    hook_type : str
        Name of an installed hook, or ``package.module:Class``.

    Raises
    ------
    PluginError
        As for `worker_class`.
    """
    return HOOKS.load(HOOKS.find(hook_type))


def _place(entry_point: EntryPoint) -> tuple[str, bool]:
    """Sort by name, and nobody's plugin before a built-in one of the same name."""
    return entry_point.name, not entry_point.value.startswith("ramp_engine.")


def _origin(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    return f"{distribution.name} {distribution.version}" if distribution else "unknown"
