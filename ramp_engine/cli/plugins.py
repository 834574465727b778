"""``ramp workers`` and ``ramp hooks``: what there is, from where, with which keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ramp_engine.cli import edge, options
from ramp_engine.cli.table import print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from ramp_engine.registry import Kind, Plugin

_keys_option = click.option("--keys", "has_keys", is_flag=True, help="Show the keys of each.")


@click.command()
@click.argument("worker_type", required=False)
@_keys_option
@options.json_option
def workers(worker_type: str | None, has_keys: bool, as_json: bool) -> int:
    """List the installed workers, or show WORKER_TYPE with its keys.

    WORKER_TYPE is a name, or package.module:Class. A worker that fails to load is listed with the
    reason, and the exit code is 3.
    """
    from ramp_engine.registry import WORKERS

    described = _described(WORKERS, worker_type, "capabilities", lambda kind: kind.capabilities)
    return _print(
        described, "capabilities", has_keys=has_keys or bool(worker_type), as_json=as_json
    )


@click.command()
@click.argument("hook_type", required=False)
@_keys_option
@options.json_option
def hooks(hook_type: str | None, has_keys: bool, as_json: bool) -> int:
    """List the installed hooks, or show HOOK_TYPE with its keys.

    HOOK_TYPE is a name, or package.module:Class. A hook that fails to load is listed with the
    reason, and the exit code is 3.
    """
    from ramp_engine.registry import HOOKS

    described = _described(HOOKS, hook_type, "calls", lambda kind: kind.calls())
    return _print(described, "calls", has_keys=has_keys or bool(hook_type), as_json=as_json)


def _described(
    kind: Kind[Any], name: str | None, trait: str, traits: Callable[[Any], frozenset[str]]
) -> list[dict[str, Any]]:
    """Describe one plugin, which has to load, or all that are installed."""
    from ramp_engine.errors import PluginError

    if name is not None:
        plugin = kind.find(name)
        return [_facts(plugin, kind.load(plugin), trait, traits)]
    found = []
    for plugin in kind.known().values():
        try:
            found.append(_facts(plugin, kind.load(plugin), trait, traits))
        except PluginError as error:
            found.append(_facts(plugin, None, trait, traits) | {"error": error.reason})
        except Exception as error:  # noqa: BLE001  around a plugin: it may say anything
            reason = f"it cannot be described: {type(error).__name__}: {error}"
            found.append(_facts(plugin, None, trait, traits) | {"error": reason})
    return found


def _facts(
    plugin: Plugin, kind: Any, trait: str, traits: Callable[[Any], frozenset[str]]
) -> dict[str, Any]:
    """Say all that is known of a plugin; of one that fails to load, what it announces."""
    from ramp_engine.config_keys import keys_of

    model = None if kind is None else kind.config_model
    return {
        "name": plugin.name,
        "origin": plugin.origin,
        "class": plugin.target,
        trait: [] if kind is None else sorted(traits(kind)),
        "description": ((kind and kind.__doc__) or "").strip().partition("\n")[0],
        "takes_any_key": kind is not None and model is None,
        "keys": [] if model is None else [asdict(key) for key in keys_of(model)],
        "error": None,
    }


def _print(found: list[dict[str, Any]], trait: str, *, has_keys: bool, as_json: bool) -> int:
    n_failed = sum(one["error"] is not None for one in found)
    if as_json:
        options.echo_json(found)
    elif has_keys:
        for one in found:
            _print_keys(one, trait)
    else:
        _print_list(found, trait)
    return edge.EXIT_PARTLY if n_failed else 0


def _print_list(found: list[dict[str, Any]], trait: str) -> None:
    columns = ["name", "origin", "class", trait, "keys"]
    rows = [
        [
            *(options.visible(one[name], keep="") for name in columns[:3]),
            f"broken: {_line(one['error'])}" if one["error"] else ", ".join(one[trait]),
            "any" if one["takes_any_key"] else str(len(one["keys"])),
        ]
        for one in found
    ]
    print_table(columns, rows, right={4})
    click.echo("With a name, or --keys: their keys, with type, default and unit", err=True)


def _print_keys(one: dict[str, Any], trait: str) -> None:
    from ramp_engine.config_keys import Key

    origin = f" ({one['origin']})" if one["origin"] else ""
    click.echo(f"{one['name']}: {one['class']}{origin}")
    if one["error"]:
        click.echo(f"  broken: {_line(one['error'])}\n")
        return
    click.echo(f"  {_line(one['description'])}")
    click.echo(f"  {trait}: {', '.join(one[trait]) or 'none'}")
    if one["takes_any_key"]:
        click.echo("  keys: any, as they are\n")
        return
    keys = [Key(**key) for key in one["keys"]]
    rows = [[key.name, key.takes, key.default_text, key.description] for key in keys]
    print_table(["key", "takes", "default", "what it is"], rows, right=set())


def _line(text: str) -> str:
    """Make what a plugin says fit for a line."""
    return " ".join(options.visible(text).split())
