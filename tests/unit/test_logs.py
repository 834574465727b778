"""Where log records go, and in which form."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ramp_engine import logs
from ramp_engine.errors import ConfigError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("ramp_engine", "ramp_database")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.level, logger.handlers = level, handlers


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


logger = logging.getLogger("ramp_engine.some_module")


def test_json_lines_carry_the_facts() -> None:
    stream = io.StringIO()
    logs.configure(1, stream=stream)
    logger.info("attempt ended", extra={"submission": 3, "event": "iris", "seconds": 1.5})
    (record,) = records(stream)
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "level": "INFO",
        "logger": "ramp_engine.some_module",
        "message": "attempt ended",
        "event": "iris",
        "submission": 3,
        "seconds": 1.5,
    }


def test_a_terminal_gets_text_with_the_facts() -> None:
    stream = Terminal()
    logs.configure(1, stream=stream)
    logger.info("attempt ended", extra={"submission": 3, "event": "iris", "why": "two words"})
    text = stream.getvalue()
    assert text.endswith("INFO    attempt ended  [event=iris submission=3 why='two words']\n")


@pytest.mark.parametrize(
    ("verbosity", "levels"),
    [(0, ["WARNING"]), (1, ["INFO", "WARNING"]), (2, ["DEBUG", "INFO", "WARNING"])],
)
def test_more_is_told_on_demand(verbosity: int, levels: list[str]) -> None:
    stream = io.StringIO()
    logs.configure(verbosity, stream=stream)
    logger.debug("x")
    logger.info("x")
    logging.getLogger("ramp_database.queue").warning("x")
    assert [record["level"] for record in records(stream)] == levels


def test_a_second_call_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure(1, stream=first)
    logs.configure(1, stream=second)
    logger.info("once")
    assert first.getvalue() == ""
    assert len(records(second)) == 1


def test_other_peoples_loggers_are_left_alone() -> None:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    logs.configure(2, stream=io.StringIO())
    assert (root.level, root.handlers) == before
    assert logging.getLogger("sqlalchemy").handlers == []


def test_a_log_file_gets_json_lines_of_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what pytest captures of it could not be sent to another process
    monkeypatch.setattr(logging.getLogger("ramp_engine"), "propagate", False)
    path = tmp_path / "new" / "dispatcher.log"
    logs.configure(0, path, stream=io.StringIO())
    logger.info("hello \udcff é")
    assert json.loads(path.read_text())["message"] == "hello \udcff é"


def test_a_log_file_may_be_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "dispatcher.log"
    logs.configure(1, path, stream=io.StringIO())
    logger.info("one")
    path.rename(tmp_path / "old.log")
    logger.info("two")
    assert json.loads(path.read_text())["message"] == "two"


def test_a_log_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a log file that can be written"):
        logs.configure(1, tmp_path)


def test_secrets_are_masked_in_messages_and_facts() -> None:
    for stream in (io.StringIO(), Terminal()):
        logs.configure(1, stream=stream)
        try:
            raise ValueError("postgresql://u:hunter2@h/db")
        except ValueError:
            logger.exception("at http://u:hunter2@h", extra={"token": "hunter2"})
        assert "hunter2" not in stream.getvalue()
        assert "ValueError" in stream.getvalue()


def test_a_name_cannot_drive_the_terminal_nor_forge_a_line() -> None:
    stream = Terminal()
    logs.configure(1, stream=stream)
    logger.info("\x1b[2Jgone\nINFO forged", extra={"submission": "a\nb\x07"})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\x07" not in text


def test_a_fact_cannot_take_the_place_of_the_message() -> None:
    stream = io.StringIO()
    logs.configure(1, stream=stream)
    logger.info("true", extra={"level": "forged", "time": "forged"})
    (record,) = records(stream)
    assert (record["level"], record["message"]) == ("INFO", "true")
