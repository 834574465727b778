"""The hook ``command``: runs a program, with what there is to tell as JSON on its stdin."""

from __future__ import annotations

import json
import subprocess
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ramp_engine.errors import HookError
from ramp_engine.hooks import CallName, Failure, Hook, Launch, Scores, Told

__all__ = ["CommandHook", "CommandHookConfig"]


class CommandHookConfig(BaseModel):
    """The keys of ``hook_type: command``."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    command: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=1,
        description="Program and arguments, run in the event's folder without a shell; on stdin it "
        "gets a JSON object with the name of the call and all that it tells.",
    )


class CommandHook(Hook):
    """Run a program for each call; an exit code other than 0 is an error."""

    config_model: ClassVar[type[BaseModel] | None] = CommandHookConfig

    def before_launch(self, launch: Launch) -> None:
        """Run it."""
        self._run("before_launch", launch)

    def after_scoring(self, scores: Scores) -> None:
        """Run it."""
        self._run("after_scoring", scores)

    def on_failure(self, failure: Failure) -> None:
        """Run it."""
        self._run("on_failure", failure)

    def _run(self, call: CallName, told: Told) -> None:
        command: list[str] = self.config["command"]
        text = json.dumps({"call": call, **told.to_json()})
        try:
            code = subprocess.run(command, input=text, text=True, check=False).returncode
        except OSError as error:
            raise HookError(f"{command[0]} cannot be run: {error.strerror}") from error
        if code != 0:
            raise HookError(f"{command[0]} ended with exit code {code}")
