"""The root of the ``ramp`` command, and the older commands' names."""

from __future__ import annotations

import importlib

import click

import ramp_engine
from ramp_engine.cli import edge

#: Sub-command: the module and the click command in it.
_COMMANDS = {
    "setup": ("setup", "setup"),
    "database": ("database", "database"),
    "launch": ("launch", "launch"),
    "config": ("config", "config"),
    "submit": ("submit", "submit"),
    "test": ("test", "test"),
    "status": ("show", "status"),
    "leaderboard": ("show", "leaderboard"),
    "logs": ("show", "logs"),
    "explain": ("control", "explain"),
    "verify": ("verify", "verify"),
    "cancel": ("control", "cancel"),
    "retry": ("control", "retry"),
    "doctor": ("doctor", "doctor"),
    "workers": ("plugins", "workers"),
    "hooks": ("plugins", "hooks"),
    "aws": ("aws", "aws"),
    "rehearse": ("rehearse", "rehearse"),
    "completion": ("completion", "completion"),
}


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """List the commands in the order of a first use."""
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import the command's module; None for an unknown name."""
        return _load(cmd_name) if cmd_name in _COMMANDS else None


def _load(name: str) -> click.Command:
    module, attribute = _COMMANDS[name]
    command = getattr(importlib.import_module(f"ramp_engine.cli.{module}"), attribute)
    assert isinstance(command, click.Command)  # noqa: S101  the table above is ours
    return command


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: ramp setup init",
)
@click.version_option(ramp_engine.__version__, prog_name="ramp")
def ramp() -> None:
    """Run data challenges: deploy events, take submissions, evaluate them, rank them."""


def main() -> None:
    """Run ``ramp``."""
    edge.run(ramp, "ramp")


def main_launch() -> None:
    """Run ``ramp-launch``, which is ``ramp launch``."""
    edge.run(_load("launch"), "ramp-launch")


def main_database() -> None:
    """Run ``ramp-database``, which is ``ramp database``."""
    edge.run(_load("database"), "ramp-database")


def main_setup() -> None:
    """Run ``ramp-setup``, which is ``ramp setup``."""
    edge.run(_load("setup"), "ramp-setup")
