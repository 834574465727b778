"""Shell completion."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For bash: ramp completion bash > ~/.local/share/bash-completion/completions/ramp
    """
    from click.shell_completion import get_completion_class

    from ramp_engine.cli.main import ramp

    completion_class = get_completion_class(shell)
    if completion_class is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(completion_class(ramp, {}, "ramp", "_RAMP_COMPLETE").source())
