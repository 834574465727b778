"""Hooks are told in order how submissions fare, and harm nobody whatever they do."""

from __future__ import annotations

import json
import logging
import re
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from ramp_database.results import BaggedScores
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import temporary_database
from ramp_engine import hook_calls
from ramp_engine.config import EventConfig, load_event
from ramp_engine.config_hooks import HookConfig
from ramp_engine.hook_calls import HookCalls
from ramp_engine.hooks import CALLS, Failure, Scores
from ramp_engine.outcome import Outcome
from ramp_engine.scoring import PredictionFault
from ramp_engine.testing import canned_scores, deploy_fake_event
from ramp_engine.testing.processes import processes_with
from tests.integration.dispatching import dispatching_event, row, submit, wait_for

PUPPETS = "tests.integration.puppet_hooks"
DIARY = {"hook_type": f"{PUPPETS}:Diary", "path": "diary.jsonl"}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The hook process finds the hooks of the tests."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    caplog.set_level(logging.INFO, "ramp_engine.hook_calls")


@pytest.fixture
def toy_database() -> Iterator[Database]:
    with temporary_database() as database:
        yield database


def deployed(database: Database, directory: Path, hooks: dict[str, Any]) -> EventConfig:
    event = deploy_fake_event(database, directory, stale_after_seconds=7200.0, n_threads=1)
    sections = yaml.safe_load(event.path.read_text())
    event.path.write_text(yaml.safe_dump({**sections, "hooks": hooks}))
    return load_event(event.path)


def diary(directory: Path) -> list[dict[str, Any]]:
    path = directory / "diary.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def puppet(name: str, kind: str = "Misbehaving", **keys: Any) -> HookConfig:
    seconds = keys.pop("timeout_seconds", 60.0)
    return HookConfig(name, f"{PUPPETS}:{kind}", frozenset(CALLS), seconds, keys)


def scores(number: int = 1) -> Scores:
    facts = {"event": "toy", "problem": "toy", "team": "t", "name": "n", "attempt": 1}
    facts |= {"submission_id": number, "at": datetime.now(UTC), "logs_dir": Path("/logs")}
    return Scores(**facts, scores={"accuracy": 0.5}, seconds=1.0)


@contextmanager
def telling(directory: Path, *hooks: HookConfig) -> Iterator[HookCalls]:
    """Calls of hooks; all that was started for them is gone afterwards."""
    with HookCalls(hooks, directory) as calls:
        yield calls
    assert processes_with(str(directory)) == []


def test_a_dispatcher_tells_hooks_in_order_what_becomes_of_submissions(
    toy_database: Database, tmp_path: Path
) -> None:
    answers = iter([{"accuracy": BaggedScores(0.7, 0.9)}, None])

    def score(event: EventConfig, *arguments: Any, **options: Any) -> Any:
        bagged = next(answers)
        if bagged is None:
            return PredictionFault(State.TESTING_ERROR, "planted", 0)
        return replace(canned_scores(event, *arguments, **options), bagged=bagged)

    only = {**DIARY, "calls": "on_failure", "path": "failures.jsonl"}
    event = deployed(toy_database, tmp_path, {"diary": DIARY, "failures": only})
    with dispatching_event(toy_database, event, score) as witness:
        good = submit(toy_database, "red")
        assert witness.sees(lambda w: w.ended == [good])
        bad = submit(toy_database, "blue")
        assert witness.sees(lambda w: w.ended == [good, bad])
    told = diary(event.directory)
    assert [(one["call"], one["submission_id"]) for one in told] == [
        ("before_launch", good),
        ("after_scoring", good),
        ("before_launch", bad),
        ("on_failure", bad),
    ]
    begun, scored, _, failed = told
    assert (begun["event"], begun["problem"], begun["team"]) == ("toy", "toy", "red")
    assert (begun["attempt"], begun["worker_type"]) == (1, event.worker_type)
    assert begun["logs_dir"] == str(event.ramp.logs_dir / f"submission_{good:09d}")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(begun["at"])).total_seconds()) < 3600
    assert scored["scores"] == {"accuracy": 0.7}
    assert 0 < scored["seconds"] < 3600
    assert (failed["outcome"], failed["is_final"]) == (Outcome.FAILED, True)
    assert failed["reason"] == row(toy_database, bad).error
    (only_failure,) = map(json.loads, (event.directory / "failures.jsonl").open())
    assert only_failure["call"] == "on_failure"
    assert len({one["pid"] for one in told} | {only_failure["pid"]}) == 1  # one warm process


def test_a_crash_that_is_tried_again_is_not_final_and_a_shutdown_is_no_failure(
    toy_database: Database, tmp_path: Path
) -> None:
    event = deployed(toy_database, tmp_path, {"diary": DIARY})
    crashing = {**event.worker, "fail_in": "collect_results", "error": "foreign"}
    with dispatching_event(toy_database, replace(event, worker=crashing)) as witness:
        submit(toy_database)
        assert witness.sees(lambda w: len(w.ended) == 1)
    begun, failed = diary(event.directory)
    assert (begun["call"], failed["call"]) == ("before_launch", "on_failure")
    assert (failed["outcome"], failed["is_final"]) == (Outcome.CRASHED, False)
    long = replace(event, worker={**event.worker, "seconds": 3600.0})
    with dispatching_event(toy_database, long) as witness:
        submit(toy_database)
        assert witness.sees(lambda w: len(w.started) == 1)
    assert [one["call"] for one in diary(event.directory)[2:]] == ["before_launch"]


def test_hooks_that_misbehave_harm_no_submission_and_no_other_hook(
    toy_database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deeds = ("raise", "exit", "end its process", "take memory")
    bad: dict[str, Any] = {
        deed: {"hook_type": f"{PUPPETS}:Misbehaving", "misdeed": deed} for deed in deeds
    }
    bad |= {
        "none": {"hook_type": "no_such_module:Hook"},
        "strict": {"hook_type": f"{PUPPETS}:Strict", "kind": "hidden value"},
        "unknown": None,
        "dated": {"hook_type": f"{PUPPETS}:Misbehaving", "holidays": {date(2026, 1, 1): "yes"}},
    }
    event = deployed(toy_database, tmp_path, {**bad, "diary": DIARY})
    with dispatching_event(toy_database, event) as witness:
        first = submit(toy_database)
        assert witness.sees(lambda w: w.ended == [first])
        assert row(toy_database, first).state is State.SCORED
        assert wait_for(lambda: len(diary(event.directory)) == 2)
    by_hook = {
        record.hook: record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
    }
    assert by_hook.keys() == bad.keys()
    assert by_hook["raise"].startswith("a hook failed: ZeroDivisionError: planted x")
    assert len(by_hook["raise"]) < 10_000
    assert by_hook["exit"].startswith("a hook failed: SystemExit: 3\nTraceback (most recent")
    assert by_hook["end its process"].endswith("has ended with exit code 7")
    assert by_hook["take memory"].startswith("a hook failed: MemoryError")
    assert "no_such_module fails to load: ModuleNotFoundError" in by_hook["none"]
    assert "a hook is left out: its keys are not in order: kind: " in by_hook["strict"]
    assert "there is no such hook" in by_hook["unknown"]
    assert by_hook["dated"] == "a hook is left out"
    assert "hidden value" not in caplog.text
    assert processes_with(str(event.directory)) == []


def test_a_call_that_hangs_ends_with_all_that_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = puppet("hanging", misdeed="hang", timeout_seconds=1.0)
    flooding = puppet("flooding", misdeed="print for ever")
    with telling(
        tmp_path, hanging, flooding, puppet("diary", "Diary", path="diary.jsonl")
    ) as calls:
        calls.tell("after_scoring", scores())
        assert wait_for(lambda: diary(tmp_path))
        messages = [record.getMessage() for record in caplog.records]
        assert messages[0] == "a hook hung or ended its process: no answer after 1 s"
        assert messages[1] == "a hook hung or ended its process: it prints more than 1 MB"
        (child,) = re.findall(r"child (\d+)", caplog.records[0].printed)
        assert not Path("/proc", child).exists()


def test_a_hook_that_hangs_again_and_again_is_left_alone_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_calls, "MAX_LOST", 2)
    ending = puppet("ending", misdeed="end its process")
    with telling(tmp_path, ending, puppet("diary", "Diary", path="diary.jsonl")) as calls:
        for number in range(3):
            calls.tell("after_scoring", scores(number))
        assert wait_for(lambda: len(diary(tmp_path)) == 3)
    (left,) = [one for one in caplog.records if "left alone" in one.getMessage()]
    assert (left.hook, left.submission) == ("ending", 2)


def test_calls_beyond_the_room_and_those_left_at_the_end_are_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_calls, "MAX_WAITING", 2)
    monkeypatch.setattr(hook_calls, "LAST_CALLS_SECONDS", 0.2)
    with telling(tmp_path, puppet("hanging", misdeed="hang")) as calls:
        calls.tell("after_scoring", scores(1))
        assert wait_for(lambda: processes_with(str(tmp_path)))
        for number in (2, 3, 4):
            calls.tell("after_scoring", scores(number))
    dropped = {one.submission: one.getMessage() for one in caplog.records if "not told" in one.msg}
    assert dropped == {
        4: "a hook is not told: 2 calls wait already",
        2: "a hook is not told: the dispatcher ends",
        3: "a hook is not told: the dispatcher ends",
    }


def test_the_hook_command_gives_a_program_all_that_there_is_to_tell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def command(name: str, *words: str) -> HookConfig:
        return HookConfig(name, "command", frozenset(CALLS), 60.0, {"command": list(words)})

    (tmp_path / "tell.py").write_text("import sys; open('told.json', 'w').write(sys.stdin.read())")
    hooks = [
        command("failing", sys.executable, "-c", "print('why'); raise SystemExit(4)"),
        command("missing", "./no-such-program"),
        command("good", sys.executable, "tell.py"),
    ]
    told = scores()
    with telling(tmp_path, *hooks) as calls:
        calls.tell("after_scoring", told)
    assert json.loads((tmp_path / "told.json").read_text()) == {
        "call": "after_scoring",
        **told.to_json(),
    }
    failing, missing, good = caplog.records
    assert failing.getMessage() == f"a hook failed: {sys.executable} ended with exit code 4"
    assert failing.printed == "why"
    assert "./no-such-program cannot be run: No such file" in missing.getMessage()
    assert good.getMessage() == "a hook was told"


class _Post(socketserver.StreamRequestHandler):
    """Take one mail, as SMTP has it."""

    mails: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.mails.append(mail.decode().replace("\r\n", "\n"))
            is_over = line.upper().startswith(b"QUIT")
            self.wfile.write(b"221 bye\r\n" if is_over else b"250 so be it\r\n")


@contextmanager
def post_office() -> Iterator[int]:
    """Give the port of a mail server."""
    with socketserver.TCPServer(("127.0.0.1", 0), _Post) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_the_hooks_of_the_how_to_page_do_what_it_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "doc" / "howto" / "write-a-hook.md"
    block = re.compile(r"```python[^\n]*\n# (\S+)\n(.*?)```", re.DOTALL)
    for name, text in block.findall(page.read_text()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = {"command": [sys.executable, "tell_chat.py"]}
    chat = HookConfig("chat", "command", frozenset(CALLS), 60.0, command)
    facts = {**vars(scores(7)), "outcome": Outcome.CRASHED, "reason": "no room", "is_final": True}
    del facts["scores"]
    with post_office() as port:
        keys = {"to": "a@example.org", "host": "127.0.0.1", "port": port}
        mail = HookConfig("mail", "ramp_mail:MailHook", frozenset(CALLS), 60.0, keys)
        with telling(tmp_path, chat, mail) as calls:
            calls.tell("after_scoring", scores(7))
            calls.tell("on_failure", Failure(**facts))
    assert [(one.hook, one.printed) for one in caplog.records] == [
        ("chat", "t/n: accuracy 0.5"),
        ("chat", "t/n crashed after 1 s"),
        ("mail", ""),
    ]
    (mail_text,) = _Post.mails
    assert "Subject: toy: submission 7 crashed" in mail_text
    assert "no room\n\nLogs: /logs" in mail_text
