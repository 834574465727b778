"""The score step, as the dispatcher sees it: a trusted process in the event's environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ramp_database.results import Results
from ramp_database.states import State
from ramp_engine.config import EventConfig
from ramp_engine.preparation import run_step, trusted_python

#: The longest time that scoring one submission may take, in seconds.
SCORE_TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True)
class Bundle:
    """The two halves of an event's bundle."""

    public: Path  #: what a fold may see
    labels: Path  #: what only trusted steps may see


@dataclass(frozen=True)
class PredictionFault:
    """What is wrong with predictions that could not be scored: the participant's failure."""

    state: State  #: the phase that made them
    message: str  #: for the participant


def score_predictions(
    event: EventConfig, bundle: Bundle, predictions: Path, output: Path
) -> Results | PredictionFault:
    """Hold predictions against the labels.

    Parameters
    ----------
    event : EventConfig
    bundle : Bundle
    predictions : Path
        Holds ``fold_<i>/y_pred_{train,test}.npz``; never trusted.
    output : Path
        Will hold what ``ramp-test --save-output`` would have written.

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
        "--data": event.data_dir,
        "--predictions": predictions,
        "--output": output,
    }
    python = trusted_python(event)
    result = run_step(
        python,
        "score",
        [str(part) for pair in arguments.items() for part in pair],
        log_path=output.with_name("score.log"),
        timeout_seconds=SCORE_TIMEOUT_SECONDS,
    )
    if "error" in result:
        error = result["error"]
        return PredictionFault(State(error["state"]), str(error["message"]))
    return Results.from_json(result)
