"""The sections of an event's file, as models."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ramp_database.config_validation import OpenSection, Section
from ramp_database.config_words import Expected

__all__ = [
    "NAME_WORDS",
    "DispatcherSection",
    "EvaluationSection",
    "EventFile",
    "RampSection",
    "WorkerSection",
    "absolute",
    "count_from_cores",
    "is_name",
    "n_cores",
    "program",
]


_N_WORKERS_WORDS = "a whole number that is not 0 (-1: all cores, -2: all but one)"


def n_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def count_from_cores(n_workers: int) -> int:
    """Turn a number of workers, negative as in joblib, into one of at least 1.

    Raises
    ------
    ValueError
        It is 0; the message completes "expected ...".
    """
    if n_workers == 0:
        raise ValueError(_N_WORKERS_WORDS)
    return n_workers if n_workers > 0 else max(1, n_cores() + 1 + n_workers)


def is_name(name: str) -> bool:
    """Tell whether an event or a problem may be called `name`."""
    return len(name) <= _LONGEST_NAME and re.fullmatch(_NAME[1:-1], name) is not None


def absolute(path: Path, directory: Path) -> Path:
    """Make `path`, which may start with ``~``, absolute; links stay (an interpreter is one).

    Raises
    ------
    ValueError
        ``~name`` stands for nobody; the message completes "expected ...".
    """
    try:
        return Path(os.path.normpath(directory / path.expanduser()))
    except RuntimeError as error:
        raise ValueError("a path whose ~ stands for a known user") from error


def _directory(info: ValidationInfo) -> Path:
    """Give the folder of the event's file, which is the context of every validation."""
    return cast("Path", info.context)


def _in_directory(path: Path, info: ValidationInfo) -> Path:
    return absolute(path, _directory(info))


def _no_bool(value: Any) -> Any:
    """Refuse ``true`` where a number belongs: Python would take it for 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("bool_given", "a number")
    return value


def _no_number(value: Any) -> Any:
    """Refuse what is neither text nor a time: pydantic would read a number as seconds from 1970."""
    if not isinstance(value, str | datetime):
        raise PydanticCustomError("number_given", "a time with its zone")
    return value


#: What the name of an event or a problem must be, in words.
NAME_WORDS = "a name of letters, digits, '.', '_' and '-', not starting with '.', of at most 100"
_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"
_LONGEST_NAME = 100

Name = Annotated[str, Field(pattern=_NAME, max_length=_LONGEST_NAME), Expected(NAME_WORDS)]
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]
Seconds = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, allow_inf_nan=False)]
Megabytes = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, allow_inf_nan=False)]
# Without a zone it would be the organiser's, the server's or UTC: nobody would notice which until
# participants are locked out.
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_no_number),
    Expected("a time with its zone, such as 2026-11-21T18:00:00+01:00 or 2026-11-21T17:00:00Z"),
]
Directory = Annotated[Path, AfterValidator(_in_directory)]


class RampSection(Section):
    """The section ``ramp``: the event and its folders, absolute."""

    problem_name: Name = Field(description="Name of the problem, that of its kit.")
    event_name: Name = Field(description="Name of the event, as commands and tables have it.")
    event_title: Annotated[str, Field(max_length=500)] = Field(
        default="", description="Title of the event for people; default: its name."
    )
    event_is_public: bool = Field(
        default=True,
        description="Noted for a web page, which may hide the event; ramp itself hides nothing.",
    )
    data_label: str | None = Field(
        default=None, description="Given to get_train_data and get_test_data of the kit."
    )
    opening_timestamp: Moment | None = Field(
        default=None, description="Submissions are taken from then on; default: always."
    )
    closing_timestamp: Moment | None = Field(
        default=None, description="Submissions are taken until then; default: always."
    )
    max_submissions_per_day: Count | None = Field(
        default=None, description="Submissions of a team in any 24 hours; default: not limited."
    )
    min_duration_between_submissions: Seconds | None = Field(
        default=None, description="Seconds from one submission of a team to its next."
    )
    max_submission_mb: Megabytes | None = Field(
        default=None, description="MB of all files of a submission together."
    )
    fair_share_window_hours: Count = Field(
        default=24,
        description="Hours: of two teams in the same turn, who computed less in these comes first.",
    )
    kit_dir: Directory = Field(
        description="Folder of the kit: problem.py, the starting kit, public data; default: kit, "
        "or ramp-kits/<problem_name> of the deployment."
    )
    data_dir: Directory = Field(
        description="Folder of the private data; default: data, or ramp-data/<problem_name> of the "
        "deployment."
    )
    submissions_dir: Directory = Field(
        description="Folder of the files of submissions; default: submissions."
    )
    predictions_dir: Directory = Field(
        description="Folder of the predictions of submissions; default: predictions."
    )
    logs_dir: Directory = Field(description="Folder of the logs; default: logs.")
    sandbox_dir: Directory = Field(
        description="Folder of the starting kit, or its name within the kit's submissions; "
        "default: starting_kit."
    )
    work_dir: Directory = Field(
        description="Folder of bundles, attempts and environment, which can be made anew; default: "
        "work."
    )

    @field_validator("closing_timestamp")
    @classmethod
    def _is_after_opening(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        opening = info.data.get("opening_timestamp")
        if value is not None and opening is not None and value <= opening:
            raise ValueError(f"a time after opening_timestamp ({opening.isoformat()})")
        return value

    @model_validator(mode="after")
    def _fill_title(self) -> RampSection:
        self.event_title = self.event_title or self.event_name
        return self


class WorkerSection(OpenSection):
    """The section ``worker``: its type, and the keys of that worker."""

    worker_type: Annotated[str, Field(min_length=1), Expected("the type of a worker")] = Field(
        description="Name of an installed worker, as `ramp workers` lists them, or "
        "package.module:Class."
    )


class EvaluationSection(Section):
    """The section ``evaluation``: the trusted steps' Python, what folds see, what is kept."""

    python: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="Interpreter of the trusted steps: an absolute path, or a name on PATH; "
        "default: that of the worker.",
    )
    conda_env: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="Conda environment in its place: a name, or an absolute prefix."
    )
    hide_validation_labels: bool = Field(
        default=False,
        description="Whether a fold gets the labels of its training part only; for workflows that "
        "train on train_is.",
    )
    fold_server: Annotated[bool, Expected("on or off")] = Field(
        default=True,
        description="Whether folds are forked from a warm process, where they are confined by "
        "namespaces.",
    )
    predictions: Literal["keep", "test-only"] = Field(
        default="keep",
        description="What is kept of predictions that are scored; without those of training none "
        "are verified.",
    )
    compress_predictions: bool = Field(
        default=True, description="Whether predictions that are kept are compressed."
    )

    @field_validator("python", "conda_env")
    @classmethod
    def _is_absolute(cls, value: str | None, info: ValidationInfo) -> str | None:
        return None if value is None else program(value, _directory(info))

    @model_validator(mode="after")
    def _is_one(self) -> EvaluationSection:
        if self.python is not None and self.conda_env is not None:
            raise ValueError("either python or conda_env and not both")
        return self


class DispatcherSection(Section):
    """The section ``dispatcher``: how submissions are taken and watched."""

    hunger_policy: Literal["sleep", "exit"] | None = Field(
        default=None,
        description="What the dispatcher does when there is nothing to do; default: sleep.",
    )
    n_workers: Annotated[int, BeforeValidator(_no_bool), Expected(_N_WORKERS_WORDS)] = Field(
        default=1,
        description="Submissions that train at once; negative: counted from the cores, -1 for all.",
    )
    n_threads: Count | None = Field(
        default=None,
        description="Threads of one worker in total; null: not limited; default: the cores, "
        "divided by n_workers.",
    )
    n_jobs_per_submission: Count = Field(
        default=1,
        description="Folds of a submission that run at once; default: the cores that a worker has "
        "for itself, and no more than it may have threads.",
    )
    time_between_collection: Seconds = Field(
        default=1.0, description="Seconds between two looks at a running worker."
    )
    timeout: Seconds = Field(default=7200.0, description="Seconds that a submission may take.")
    max_attempts: Count = Field(
        default=3, description="Runs of a submission that crashes for reasons of ours."
    )
    heartbeat_seconds: Seconds = Field(
        default=5.0, description="Seconds between two proofs of life of the dispatcher."
    )
    stale_after_seconds: Seconds = Field(
        default=60.0,
        validate_default=True,
        description="Seconds without a proof of life after which others take a dispatcher for "
        "dead; at least 3 times heartbeat_seconds.",
    )
    hung_after_seconds: Seconds = Field(
        default=900.0, description="Seconds after which a call of a worker is given up."
    )
    stalled_after_seconds: Seconds = Field(
        default=30.0,
        description="Seconds after which the dispatcher's loop counts as stalled, and its "
        "heartbeat stops; default: half of stale_after_seconds.",
    )

    @field_validator("n_workers")
    @classmethod
    def _count_from_cores(cls, value: int) -> int:
        return count_from_cores(value)

    @field_validator("stale_after_seconds")
    @classmethod
    def _outlasts_heartbeats(cls, value: float, info: ValidationInfo) -> float:
        beat = info.data.get("heartbeat_seconds")
        if beat is not None and value < 3 * beat:
            raise ValueError(f"at least {3 * beat:g}, which is 3 times heartbeat_seconds")
        return value

    @field_validator("stalled_after_seconds")
    @classmethod
    def _is_between(cls, value: float, info: ValidationInfo) -> float:
        beat, stale = info.data.get("heartbeat_seconds"), info.data.get("stale_after_seconds")
        if beat and stale and not beat <= value <= stale:
            raise ValueError(
                f"a number from {beat:g} (heartbeat_seconds) to {stale:g} (stale_after_seconds)"
            )
        return value

    @model_validator(mode="after")
    def _fill(self) -> DispatcherSection:
        share = max(1, n_cores() // self.n_workers)
        if "n_threads" not in self.model_fields_set:
            self.n_threads = share
        if "n_jobs_per_submission" not in self.model_fields_set:
            self.n_jobs_per_submission = min(share, self.n_threads or share)
        if "stalled_after_seconds" not in self.model_fields_set:
            self.stalled_after_seconds = self.stale_after_seconds / 2
        return self


class EventFile(Section):
    """An event's file."""

    ramp: RampSection = Field(description="The event and its folders.")
    worker: WorkerSection = Field(description="Where submissions run.")
    evaluation: EvaluationSection = Field(
        description="The trusted steps' Python, what folds see, what is kept."
    )
    dispatcher: DispatcherSection = Field(description="How submissions are taken and watched.")
    hooks: dict[str, Any] = Field(
        default={}, description="Whom to tell how submissions fare: a name, and the hook's keys."
    )


def program(value: str, directory: Path) -> str:
    """Make a path of a program or prefix absolute; a bare name stays, to be looked up."""
    return str(absolute(Path(value), directory)) if "/" in value or value == "~" else value
