"""One submission evaluated alone: the same steps as under a dispatcher, without a database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ramp_database import submissions
from ramp_database.results import Results
from ramp_engine import attempt, registry
from ramp_engine.attempt import AttemptDirectory
from ramp_engine.base import TIMEOUT_RETURNCODE
from ramp_engine.config import EventConfig
from ramp_engine.errors import NotFoundError, WorkerError
from ramp_engine.failure_card import Subject, card
from ramp_engine.intake import read_files
from ramp_engine.outcome import Facts, Outcome, Verdict, judge
from ramp_engine.preparation import Bundle, PrepareResult, run_prepare, trusted_python
from ramp_engine.scoring import PredictionFault, score_predictions


@dataclass(frozen=True)
class Report:
    """What became of a submission that was evaluated alone."""

    submission: str
    verdict: Verdict
    score_types: tuple[dict[str, Any], ...]  #: the first is the official one
    results: Results | None  #: None without scores
    output_dir: Path  #: what ``ramp-test --save-output`` would have written
    log_path: Path  #: what the submission printed


def find_submission(event: EventConfig, name: str) -> Path:
    """Find the folder of a submission in ``submissions_dir`` or among those of the kit.

    Raises
    ------
    NotFoundError
        There is none of that name.
    """
    parents = (event.ramp.submissions_dir, event.ramp.kit_dir / "submissions")
    known: list[str] = []
    for parent in parents:
        if parent.is_dir():
            known += [path.name for path in sorted(parent.iterdir()) if path.is_dir()]
            if name in known:
                return parent / name
    hint = f"Looked in {parents[0]} and {parents[1]}"
    raise NotFoundError("submission", name, known, hint)


def evaluate_alone(event: EventConfig, name: str) -> Report:
    """Evaluate a submission; predictions and logs are published as a dispatcher would.

    Parameters
    ----------
    event : EventConfig
    name : str
        Of a folder in ``submissions_dir`` or in the kit's ``submissions``.

    Returns
    -------
    Report
        Also of a submission that failed.

    Raises
    ------
    RampError
        The platform failed: no such submission, no environment, an unreadable kit.
    """
    folder = find_submission(event, name)
    prepared = run_prepare(event)
    directory = AttemptDirectory(event.ramp.work_dir / "attempts" / f"{name}-alone", name)
    try:
        return _evaluate(event, folder, prepared, directory)
    finally:
        directory.remove()


def _evaluate(
    event: EventConfig, folder: Path, prepared: PrepareResult, directory: AttemptDirectory
) -> Report:
    name = directory.submission
    files = read_files(folder)
    submissions.check_files(files, prepared.required_files)
    directory.make()
    submissions.write_files(files, directory.submissions_dir / name)
    verdict = judge(_work(event, prepared, directory))
    logs = attempt.stage_logs(directory.logs_dir / name, event.ramp.logs_dir, f"{name}-alone")
    attempt.publish(logs, event.ramp.logs_dir / name)
    output_dir, results = event.ramp.predictions_dir / name, None
    if verdict.outcome is Outcome.SUCCEEDED:
        scored = _score(event, prepared.bundle, directory)
        if isinstance(scored, PredictionFault):
            verdict = Verdict(Outcome.FAILED, scored.state, scored.message, scored.fold)
        else:
            results = scored
            staged = output_dir.with_name(f".{name}.scored")
            output_dir.parent.mkdir(parents=True, exist_ok=True)
            attempt.publish(attempt.move_across(directory.scored_dir, staged), output_dir)
    if results is None:
        subject = Subject(name, files=[file.path for file in files])
        verdict = replace(verdict, error=card(verdict, subject))
    log_path = event.ramp.logs_dir / name / "log"
    return Report(name, verdict, prepared.score_types, results, output_dir, log_path)


def _work(event: EventConfig, prepared: PrepareResult, directory: AttemptDirectory) -> Facts:
    n_folds = len(prepared.folds)
    config = event.worker_config() | directory.worker_keys()
    config |= {"bundle_dir": str(prepared.bundle.public), "n_folds": n_folds}
    worker = registry.worker_class(event.worker_type)(config, directory.submission)
    try:
        returncode, error_msg = worker.launch()
    except WorkerError as error:
        return Facts(n_folds, crash=str(error))
    return Facts(
        n_folds,
        worker_status="timeout" if returncode == TIMEOUT_RETURNCODE else "finished",
        returncode=returncode,
        error_msg=error_msg,
        timeout_seconds=event.dispatcher.timeout,
        folds=attempt.read_folds(directory.fold_predictions_dir),
    )


def _score(
    event: EventConfig, bundle: Bundle, directory: AttemptDirectory
) -> Results | PredictionFault:
    return score_predictions(
        event,
        trusted_python(event),
        bundle,
        directory.fold_predictions_dir,
        directory.scored_dir,
        event.ramp.logs_dir / directory.submission / "score.log",
    )
