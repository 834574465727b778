"""The edge of the command line: every way out is an exit code and a sentence.

0 done; 1 failed, told in prose; 2 usage or configuration; 3 partly done; 70 a bug of ours.
"""

from __future__ import annotations

import gc
import sys
import traceback
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED, EXIT_USAGE, EXIT_PARTLY, EXIT_BUG, EXIT_INTERRUPTED = 1, 2, 3, 70, 130


def run(command: click.Command, program: str, arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave the process with the exit code that tells how it went.

    Parameters
    ----------
    command : click.Command
        The group or command.
    program : str
        The name to be shown in messages.
    arguments : sequence of str, optional
        Default: those of the process.
    """
    code = _run(command, program, arguments)
    gc.freeze()  # to look for garbage among all modules at the end takes longer than most commands
    sys.exit(code)


def _run(command: click.Command, program: str, arguments: Sequence[str] | None) -> int:
    try:
        code = command.main(arguments, prog_name=program, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        return _broken_pipe()
    except Exception as error:  # noqa: BLE001  the outermost edge of the program
        return _failure(error, program)
    return code if isinstance(code, int) else 0


def _failure(error: Exception, program: str) -> int:
    from ramp_database.errors import ConfigError, ConfigErrors, RampError

    if isinstance(error, RampError):
        for line in str(error).splitlines():
            click.echo(f"{program}: {line}", err=True)
        is_config = isinstance(error, ConfigError | ConfigErrors)
        return EXIT_USAGE if is_config else EXIT_FAILED
    traceback.print_exception(error)
    click.echo(
        f"{program}: this is a bug of ramp. Please report it with the lines above.", err=True
    )
    return EXIT_BUG


def _broken_pipe() -> int:
    """Leave quietly when the reader of our output has gone, as ``ramp status | head`` does."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED
