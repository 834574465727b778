"""Which workers there are: installed plugins, found by entry point, and classes named in full.

Built-in workers are found the same way as everybody's. Nothing is imported before it is asked for,
so that a plugin that fails to load harms nobody else.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from ramp_engine.base import BaseWorker
from ramp_engine.errors import PluginError

__all__ = ["GROUP", "WorkerPlugin", "known_workers", "load", "worker_class"]

logger = logging.getLogger(__name__)

#: The entry point group in which a package announces its workers.
GROUP = "ramp_engine.workers"


@dataclass(frozen=True)
class WorkerPlugin:
    """A worker that is installed, not loaded yet."""

    name: str  #: the ``worker_type``
    target: str  #: ``package.module:Class``
    origin: str  #: name and version of the distribution that brings it


def known_workers() -> dict[str, WorkerPlugin]:
    """List the installed workers by ``worker_type``; nothing is imported."""
    found: dict[str, WorkerPlugin] = {}
    for entry_point in sorted(entry_points(group=GROUP), key=_place):
        plugin = WorkerPlugin(entry_point.name, entry_point.value, _origin(entry_point))
        first = found.setdefault(plugin.name, plugin)
        if first.target != plugin.target:
            extra = {"worker": plugin.name, "taken": first.target, "ignored": plugin.target}
            logger.warning("two plugins bring the same worker_type", extra=extra)
    return found


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
    if ":" in worker_type:
        return load(worker_type, worker_type)
    known = known_workers()
    if worker_type not in known:
        raise PluginError(worker_type, "there is no such worker", tuple(known))
    return load(worker_type, known[worker_type].target)


def load(worker_type: str, target: str) -> type[BaseWorker]:
    """Import a worker's class.

    Parameters
    ----------
    worker_type : str
        What it was asked for, for messages.
    target : str
        ``package.module:Class``.

    Raises
    ------
    PluginError
        As for `worker_class`.
    """
    module_name, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute, None)
    except (Exception, SystemExit) as error:  # around a plugin: its import may raise anything
        reason = f"{module_name} fails to load: {type(error).__name__}: {error}"
        raise PluginError(worker_type, reason) from error
    if found is None:
        raise PluginError(worker_type, f"{module_name} has no {attribute!r}")
    return _checked(worker_type, target, found)


def _checked(worker_type: str, target: str, found: object) -> type[BaseWorker]:
    if not (isinstance(found, type) and issubclass(found, BaseWorker)):
        raise PluginError(worker_type, f"{target} is not a subclass of ramp_engine.base.BaseWorker")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise PluginError(worker_type, f"{target} does not implement {missing}")
    return found


def _place(entry_point: EntryPoint) -> tuple[str, bool]:
    """Sort by name, and nobody's plugin before a built-in worker of the same name."""
    return entry_point.name, not entry_point.value.startswith("ramp_engine.")


def _origin(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    return f"{distribution.name} {distribution.version}" if distribution else "unknown"
