"""Record a program in a terminal as an animated SVG: `record_demo.py FILE [PROGRAM ...]`.

Without a program that is the demo. The picture plays by itself in a page, without a script.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char

COLUMNS, ROWS = 112, 34
#: Of a character, in pixels.
WIDTH, HEIGHT = 8.0, 18.0
MARGIN = 14.0
#: Shown in place of the folder of this repository.
SHOWN_FOLDER = b"/home/you/ramp"
#: Frames are at least so far apart [s], and at most, whatever the program did meanwhile.
SHORTEST_SECONDS, LONGEST_SECONDS, LAST_SECONDS = 0.08, 1.2, 6.0
_COLORS = {
    "default": "#d5dde5", "black": "#4a5568", "red": "#ff8272", "green": "#8fd67f",
    "brown": "#f2c84b", "blue": "#7ab7ff", "magenta": "#e29bf2", "cyan": "#6fd9d9",
    "white": "#f2f5f8",
}  # fmt: skip
_STYLE = """
text {{ font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
text {{ white-space: pre; }} .b {{ font-weight: 700; }}
.film {{ animation: play {seconds:.2f}s step-end infinite; transform: translateY({last:g}px); }}
@keyframes play {{ {stops} }}
@media (prefers-reduced-motion: reduce) {{ .film {{ animation: none; }} }}
"""

Rows = tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """What a terminal shows from some time on."""

    at_seconds: float
    rows: Rows  #: each as SVG


def record(command: Sequence[str]) -> list[Frame]:
    """Run a program in a terminal of its own, to its end.

    Raises
    ------
    SystemExit
        It failed; with its exit code.
    """
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES=str(ROWS))
        os.execvp(command[0], list(command))  # noqa: S606  no shell is wanted
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    frames = [Frame(0.0, _rows(screen))]
    here = os.fsencode(Path(__file__).resolve().parents[1])
    for chunk in _chunks(terminal):
        stream.feed(chunk.replace(here, SHOWN_FOLDER))
        frames.append(Frame(time.monotonic(), _rows(screen)))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        sys.exit(code)
    return _paced(frames[1:])


def _chunks(terminal: int) -> Iterator[bytes]:
    """Give what the program writes, gathered for the time of a frame, until it ends."""
    while True:
        chunk = b""
        until: float | None = None
        while until is None or time.monotonic() < until:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([terminal], [], [], left)[0]:
                break
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # so Linux says that the other end is closed
                piece = b""
            if not piece:
                if chunk:
                    yield chunk
                return
            chunk += piece
            until = until or time.monotonic() + SHORTEST_SECONDS
        yield chunk


def _paced(frames: list[Frame]) -> list[Frame]:
    """Leave out what shows nothing new, and shorten waits."""
    paced: list[Frame] = []
    now, before = 0.0, frames[0].at_seconds
    for frame in frames:
        now += min(frame.at_seconds - before, LONGEST_SECONDS)
        before = frame.at_seconds
        if not paced or frame.rows != paced[-1].rows:
            paced.append(Frame(now, frame.rows))
    return paced


def _rows(screen: pyte.Screen) -> Rows:
    return tuple(
        _row([screen.buffer[y][x] for x in range(screen.columns)]) for y in range(screen.lines)
    )


def _row(chars: list[Char]) -> str:
    parts, column = [], 0
    for look, group in groupby(chars, key=lambda char: (char.fg, char.bold)):
        text = "".join(char.data for char in group)
        if text.strip():
            parts.append(_run(text, column, *look))
        column += len(text)
    return "".join(parts)


def _run(text: str, column: int, color: str, is_bold: bool) -> str:
    """Write a piece of a row, without the blanks around it."""
    begin = len(text) - len(text.lstrip())
    text = text.strip()
    fill = _COLORS.get(color, f"#{color}")
    bold = ' class="b"' if is_bold else ""
    x, length = MARGIN + WIDTH * (column + begin), WIDTH * len(text)
    kept = escape(text).replace("  ", "\u00a0 ")
    return f'<text x="{x:g}" fill="{fill}" textLength="{length:g}"{bold}>{kept}</text>'


def film(frames: Sequence[Frame]) -> str:
    """Give the recording as SVG: all frames below one another, moved past step by step.

    Where nothing moves the last one is seen.
    """
    height = 2 * MARGIN + HEIGHT * ROWS
    width = 2 * MARGIN + WIDTH * COLUMNS
    names = {row: f"r{number}" for number, row in enumerate(_distinct(frames))}
    seconds = frames[-1].at_seconds + LAST_SECONDS
    stops = " ".join(
        f"{100 * frame.at_seconds / seconds:.3f}% {{ transform: translateY({-n * height:g}px); }}"
        for n, frame in enumerate(frames)
    )
    last = (1 - len(frames)) * height
    screen = f'width="{width:g}" height="{height:g}" rx="9"'
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            "<title>The demo in a terminal: from a deployed event to its leaderboard</title>",
            f"<style>{_STYLE.format(seconds=seconds, stops=stops, last=last)}</style>",
            "<defs>",
            *(f'<g id="{name}">{row}</g>' for row, name in names.items()),
            f'<clipPath id="screen"><rect {screen}/></clipPath>',
            f'</defs><rect {screen} fill="#17212b"/>',
            '<g clip-path="url(#screen)"><g class="film">',
            *(_strip(frame, names, height * number) for number, frame in enumerate(frames)),
            "</g></g></svg>\n",
        ]
    )


def _distinct(frames: Sequence[Frame]) -> Iterator[str]:
    yield from dict.fromkeys(row for frame in frames for row in frame.rows if row)


def _strip(frame: Frame, names: dict[str, str], top: float) -> str:
    shown = (
        f'<use href="#{names[row]}" y="{top + MARGIN + HEIGHT * (number + 0.8):g}"/>'
        for number, row in enumerate(frame.rows)
        if row
    )
    return f"<g>{''.join(shown)}</g>"


def main() -> None:
    """Record what the command line names."""
    target, *command = sys.argv[1:]
    frames = record(command or [str(Path(__file__).parent / "demo")])
    Path(target).write_text(film(frames), encoding="utf-8")
    sys.stderr.write(f"{target}: {len(frames)} frames\n")


if __name__ == "__main__":
    main()
