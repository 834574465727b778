"""The score step, as the dispatcher sees it: a trusted process in the event's environment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ramp_database.results import Results
from ramp_database.states import State
from ramp_engine.config import EventConfig
from ramp_engine.preparation import Bundle, Warm, run_step, scratch_dir
from ramp_engine.score_servers import ScoreServers
from ramp_engine.step_server import ServedProcess, StepCall

#: The longest time that scoring one submission may take, in seconds.
SCORE_TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True)
class PredictionFault:
    """What is wrong with predictions that could not be scored: the participant's failure."""

    state: State  #: the phase that made them
    message: str  #: for the participant
    fold: int | None = None  #: the one whose predictions they are; None: all of them


class ScoreStep(Protocol):
    """What holds predictions against the labels; `score_predictions` is the real one."""

    def __call__(
        self,
        event: EventConfig,
        python: Path,
        bundle: Bundle,
        predictions: Path,
        output: Path,
        log_path: Path,
        stopping: threading.Event | None = None,
        *,
        folds: Sequence[int] | None = None,
    ) -> Results | PredictionFault:
        """Score; parameters, value and errors are those of `score_predictions`."""


def score_predictions(
    event: EventConfig,
    python: Path,
    bundle: Bundle,
    predictions: Path,
    output: Path,
    log_path: Path,
    stopping: threading.Event | None = None,
    warm: Warm | None = None,
    *,
    folds: Sequence[int] | None = None,
) -> Results | PredictionFault:
    """Hold predictions against the labels.

    Parameters
    ----------
    event : EventConfig
    python : Path
        The interpreter of the trusted steps.
    bundle : Bundle
    predictions : Path
        Holds ``fold_<i>/y_pred_{train,test}.npz``; never trusted.
    output : Path
        Will hold what ``ramp-test --save-output`` would have written.
    log_path : Path
        Gets what the step prints, test scores among it; only its owner may read it.
    stopping : Event, optional
        Ends the step early when it is set.
    warm : callable, optional
        Starts the step from a process that is warm, where there is one.
    folds : sequence of int, optional
        Only these are scored, and nothing is written to `output`: others are not done yet. By
        default all, and their combination.

    Returns
    -------
    Results or PredictionFault

    Raises
    ------
    EvaluationError
        The kit, the labels or the environment are at fault.
    """
    arguments = {
        "--bundle": bundle.public,
        "--labels": bundle.labels,
        "--data": event.ramp.data_dir,
        "--predictions": predictions,
        "--output": output,
    }
    options = _kept(event) if folds is None else ["--folds", ",".join(map(str, folds))]
    log_path.parent.mkdir(parents=True, exist_ok=True)
    log_path.touch(mode=0o600)
    result = run_step(
        python,
        "score",
        [str(part) for pair in arguments.items() for part in pair] + options,
        log_path=log_path,
        scratch_parent=scratch_dir(event),
        timeout_seconds=SCORE_TIMEOUT_SECONDS,
        stopping=stopping,
        warm=warm,
    )
    if "error" in result:
        error = result["error"]
        return PredictionFault(State(error["state"]), str(error["message"]), error.get("fold"))
    return Results.from_json(result)


def _kept(event: EventConfig) -> list[str]:
    """Give the flags that tell what of the predictions is kept."""
    chosen = event.evaluation
    flags = {
        "--keep-test-only": chosen.predictions == "test-only",
        "--no-compression": not chosen.compress_predictions,
    }
    return [flag for flag, is_set in flags.items() if is_set]


class WarmScoring:
    """The score step from a warm process, where there is one. It is a `ScoreStep`.

    Parameters
    ----------
    servers : ScoreServers
    """

    def __init__(self, servers: ScoreServers) -> None:
        self._servers = servers

    def __call__(
        self,
        event: EventConfig,
        python: Path,
        bundle: Bundle,
        predictions: Path,
        output: Path,
        log_path: Path,
        stopping: threading.Event | None = None,
        *,
        folds: Sequence[int] | None = None,
    ) -> Results | PredictionFault:
        """Score; parameters, value and errors are those of `score_predictions`."""

        def warm(call: StepCall, stopping: threading.Event | None) -> ServedProcess | None:
            return self._servers.start(python, bundle.public, call, stopping)

        return score_predictions(
            event, python, bundle, predictions, output, log_path, stopping, warm, folds=folds
        )
