"""Where log records go: the only place that makes handlers, called by the command line.

Text on a terminal, JSON lines everywhere else. The facts of a record come from ``extra``.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, TextIO

from ramp_database.errors import ConfigError
from ramp_database.masking import mask, mask_text

__all__ = ["FACTS", "JsonFormatter", "TextFormatter", "configure"]

#: The facts that records carry in ``extra``, in the order in which they are shown.
FACTS = ("event", "submission", "attempt", "dispatcher", "worker")

_LOGGERS = ("ramp_database", "ramp_engine")
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_OWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_MARK = "_ramp_handler"


def configure(
    verbosity: int = 0, log_file: Path | None = None, *, stream: TextIO | None = None
) -> None:
    """Send the records of this project to stderr and, if wanted, to a file.

    Parameters
    ----------
    verbosity : int
        0 for warnings, 1 for what happens, 2 or more for everything.
    log_file : Path, optional
        Gets JSON lines, of what happens at least. May be moved away while in use (logrotate).
    stream : TextIO, optional
        In place of stderr.

    Raises
    ------
    ConfigError
        `log_file` cannot be written.

    Notes
    -----
    Calling it again replaces what the last call made. Nobody else's loggers and handlers are
    touched, the root logger's neither.
    """
    level = _LEVELS[max(0, min(verbosity, 2))]
    handlers = [_stream_handler(stream, level)]
    if log_file is not None:
        handlers.append(_file_handler(log_file, min(level, logging.INFO)))
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for old in [handler for handler in logger.handlers if hasattr(handler, _MARK)]:
            logger.removeHandler(old)
            old.close()
        for handler in handlers:
            logger.addHandler(handler)
        logger.setLevel(min(handler.level for handler in handlers))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, the facts, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line of `record`, secrets masked."""
        line: dict[str, Any] = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": mask_text(record.getMessage()),
            **{key: value for key, value in _facts(record).items() if key not in _RESERVED},
        }
        if record.exc_info:
            line["exception"] = mask_text(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Lines for people: time of day, level, message, the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the lines of `record`, secrets masked, control characters made visible."""
        facts = " ".join(f"{key}={_shown(value)}" for key, value in _facts(record).items())
        time = _time(record).astimezone().strftime("%H:%M:%S")
        message = _one_line(mask_text(record.getMessage()))
        text = f"{time} {record.levelname:<7} {message}" + (f"  [{facts}]" if facts else "")
        if record.exc_info:
            text += "\n" + _visible(mask_text(self.formatException(record.exc_info)))
        return text


_RESERVED = {"time", "level", "logger", "message", "exception"}


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Write to what is stderr at that moment: a live display puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # not setStream, which flushes what may be closed by now
        super().emit(record)


def _stream_handler(stream: TextIO | None, level: int) -> logging.Handler:
    handler = _StderrHandler(sys.stderr) if stream is None else logging.StreamHandler(stream)
    is_terminal = (stream or sys.stderr).isatty()
    handler.setFormatter(TextFormatter() if is_terminal else JsonFormatter())
    return _own(handler, level)


def _file_handler(path: Path, level: int) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = WatchedFileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        expected = "a log file that can be written"
        raise ConfigError(path, "", expected, found=f"an error: {reason}") from error
    handler.setFormatter(JsonFormatter())
    return _own(handler, level)


def _own(handler: logging.Handler, level: int) -> logging.Handler:
    setattr(handler, _MARK, True)
    handler.setLevel(level)
    return handler


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    # what libraries put into all records for themselves, as Ray does, begins with a line
    extra = {key: value for key, value in vars(record).items() if key not in _OWN and key[0] != "_"}
    ordered = {key: extra.pop(key) for key in FACTS if extra.get(key) is not None}
    facts: dict[str, Any] = mask(ordered | extra)
    return facts


def _shown(value: object) -> str:
    text = _one_line(str(value))
    return repr(text) if not text or " " in text else text


def _one_line(text: str) -> str:
    return _visible(text).replace("\n", "\\n")


def _visible(text: str) -> str:
    """Write control characters as codes: a participant's name must not drive the terminal."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
