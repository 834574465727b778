"""Hooks that keep a diary, and hooks that do what a hook must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ramp_engine.hooks import Failure, Hook, Launch, Scores, Told


class DiaryConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    path: Path = Field(description="The diary, from the event's folder.")


class Diary(Hook):
    config_model: ClassVar[type[BaseModel] | None] = DiaryConfig

    def before_launch(self, launch: Launch) -> None:
        self._write("before_launch", launch)

    def after_scoring(self, scores: Scores) -> None:
        self._write("after_scoring", scores)

    def on_failure(self, failure: Failure) -> None:
        self._write("on_failure", failure)

    def _write(self, call: str, told: Told) -> None:
        with self.config["path"].open("a") as diary:
            diary.write(json.dumps({"call": call, "pid": os.getpid(), **told.to_json()}) + "\n")


def _raise() -> None:
    raise ZeroDivisionError("planted " + "x" * 2_000_000)


def _hang() -> None:
    """Hang, with a child in a session of its own."""
    child = subprocess.Popen(["/bin/sleep", "100000"], start_new_session=True)
    print(f"child {child.pid}", flush=True)
    time.sleep(100_000)


def _take_memory() -> None:
    print(len(bytearray(8 << 30)))


def _print_for_ever() -> None:
    while True:
        print("x" * 1000)


class Misbehaving(Hook):
    """Do after scoring what ``misdeed`` says."""

    DEEDS: ClassVar[dict[str, Callable[[], None]]] = {
        "raise": _raise,
        "exit": lambda: sys.exit(3),
        "hang": _hang,
        "end its process": lambda: os._exit(7),
        "take memory": _take_memory,
        "print for ever": _print_for_ever,
    }

    def after_scoring(self, scores: Scores) -> None:
        self.DEEDS[self.config["misdeed"]]()


class StrictConfig(BaseModel):
    kind: Literal["good"]


class Strict(Hook):
    config_model: ClassVar[type[BaseModel] | None] = StrictConfig
