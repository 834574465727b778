"""The section ``hooks`` of an event's file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.config import EventConfig, load_event
from ramp_engine.errors import ConfigErrors
from ramp_engine.hooks import CALLS
from ramp_engine.registry import hook_class

LEAST = "ramp: {problem_name: iris, event_name: iris_test}\nworker: {worker_type: local}\n"


def model(hook_type: str) -> Any:
    return hook_class(hook_type).config_model


def load(folder: Path, hooks: str, **options: Any) -> EventConfig:
    path = folder / "config.yml"
    path.write_text(LEAST + hooks)
    return load_event(path, **options)


def problems(folder: Path, hooks: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(folder, hooks, hook_model=model)
    return [str(one).partition("config.yml:")[2] for one in caught.value.errors]


def test_an_event_without_hooks_has_none(tmp_path: Path) -> None:
    assert load(tmp_path, "").hooks == ()
    assert "hooks" not in load(tmp_path, "hooks:\n").to_printable()


def test_a_hook_has_a_name_a_type_calls_a_time_limit_and_its_own_keys(tmp_path: Path) -> None:
    text = "hooks:\n  command: {command: [mail]}\n  chat:\n    hook_type: command\n"
    text += (
        "    calls: on_failure\n    timeout_seconds: 3\n    command: [post, now]\n    token: x\n"
    )
    command, chat = load(tmp_path, text).hooks
    assert (command.hook_type, command.calls, command.timeout_seconds) == (
        "command",
        frozenset(CALLS),
        10,
    )
    assert (chat.name, chat.hook_type, chat.calls) == ("chat", "command", {"on_failure"})
    assert chat.keys == {"command": ["post", "now"], "token": "x"}
    assert load(tmp_path, text).to_printable()["hooks"]["chat"] == {
        "hook_type": "command",
        "calls": ["on_failure"],
        "timeout_seconds": 3,
        "command": ["post", "now"],
        "token": "***",
    }


def test_a_dispatcher_imports_no_hook_and_the_check_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hook_that_breaks.py").write_text("raise OSError('planted')")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "hooks:\n  one:\n    hook_type: hook_that_breaks:Hook\n"
    (hook,) = load(tmp_path, text).hooks
    assert hook.hook_type == "hook_that_breaks:Hook"
    assert "hook_that_breaks" not in sys.modules
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("5: hooks.one.hook_type: expected a hook that loads: ")
    assert "hook_that_breaks fails to load: OSError: planted" in problem


def test_mistakes_are_told_with_their_line_and_the_nearest(tmp_path: Path) -> None:
    text = """\
hooks:
  comand:
  chat: {hook_type: comand}
  mail: {hook_type: command, calls: [on_succes], timeout_seconds: 0}
  post:
    hook_type: command
    comand: [a]
  program: {hook_type: command, command: []}
  list: []
"""
    assert problems(tmp_path, text) == [
        (
            "4: hooks.comand: expected a known type of hook (command), found 'comand'; "
            "did you mean 'command'?"
        ),
        (
            "5: hooks.chat.hook_type: expected a known type of hook (command), found 'comand'; "
            "did you mean 'command'?"
        ),
        (
            "6: hooks.mail.calls[0]: expected 'before_launch', 'after_scoring' or 'on_failure', "
            "found 'on_succes'"
        ),
        "6: hooks.mail.timeout_seconds: expected a number above 0, found 0",
        "9: hooks.post.comand: expected a known key, found 'comand'; did you mean 'command'?",
        "10: hooks.program.command: expected a list that is not empty, found a list",
        "11: hooks.list: expected a section of keys, found a list",
    ]
