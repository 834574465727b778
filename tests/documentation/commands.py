"""Commands as documentation shows them: found, and held against what the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from ramp_engine.cli import main

#: The programs that are ramp's, and the command of each.
_PROGRAMS: dict[str, tuple[str, ...]] = {
    "ramp": (),
    "ramp-launch": ("launch",),
    "ramp-database": ("database",),
    "ramp-setup": ("setup",),
}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_OPERATORS = frozenset("|&;()<>")


@dataclass(frozen=True)
class Step:
    """A command of a console block, and what the page says that it prints."""

    command: str
    output: str


def steps(text: str) -> list[Step]:
    """Read a console block: lines after ``$ ``, those that go on after ``> ``, and output."""
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif found and found[-1][0][-1].endswith("\\") and not found[-1][1]:
            found[-1][0].append(line.removeprefix("> "))
        elif found:
            found[-1][1].append(line)
    return [Step("\n".join(command), "\n".join(output)) for command, output in found]


def complaints(line: str, *, is_whole: bool = True) -> list[str]:
    """Say what is wrong with the commands of ramp in a line of a shell.

    Parameters
    ----------
    line : str
        One or several commands, joined by pipes and the like.
    is_whole : bool
        Whether it could be typed; in prose values and arguments may be left out.
    """
    found = []
    for words in _simple_commands(line):
        program = words[0].rpartition("/")[2]
        if program in _PROGRAMS:
            arguments = [*_PROGRAMS[program], *words[1:]]
            found += _complaints(main.ramp, arguments, is_whole)
    return found


def _simple_commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    words: list[str] = []
    skips = False
    for word in [*lexer, ";"]:
        if set(word) <= _OPERATORS:
            skips = word in {">", ">>", "<"}
            if not skips:
                if words:
                    yield words
                words = []
        elif skips:
            skips = False
        elif words or not _ASSIGNMENT.match(word):
            words.append(word)


def _complaints(root: click.Command, arguments: Sequence[str], is_whole: bool) -> Iterator[str]:
    command, context, rest = root, click.Context(root, info_name="ramp"), list(arguments)
    while True:
        parser = command.make_parser(context)
        parser.ignore_unknown_options = False
        try:
            values, rest, _ = parser.parse_args(rest)
        except click.NoSuchOption as error:
            yield f"{context.command_path}: {error.format_message()}"
            return
        except click.UsageError as error:
            if is_whole:
                yield f"{context.command_path}: {error.format_message()}"
            return
        if not isinstance(command, click.Group):
            if is_whole:
                yield from _unfit(command, context, values, rest)
            return
        if not rest or rest[0] == "...":
            return
        found = command.get_command(context, rest[0])
        if found is None:
            yield f"{context.command_path}: no such command {rest[0]!r}"
            return
        command, context = found, click.Context(found, info_name=rest[0], parent=context)
        rest = rest[1:]


def _unfit(
    command: click.Command, context: click.Context, values: dict[str, object], rest: list[str]
) -> Iterator[str]:
    where = context.command_path
    if values.get("help"):
        return
    if rest:
        yield f"{where}: takes no {' '.join(rest)!r}"
    for parameter in command.params:
        value = values.get(parameter.name or "")
        is_given = isinstance(value, str | bool | int) or (isinstance(value, tuple) and value)
        if parameter.required and not is_given:
            yield f"{where}: needs {parameter.get_error_hint(context)}"
        choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else None
        if choices and isinstance(value, str) and value not in choices and not value.isupper():
            yield f"{where}: {parameter.get_error_hint(context)} takes {', '.join(choices)}"
