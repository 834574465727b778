"""What is kept on disk of finished submissions, and how it goes."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy.orm import Session

from ramp_database import submissions
from ramp_database.states import FINAL


def delete_predictions(session: Session, event_id: int, predictions_dir: Path) -> tuple[int, int]:
    """Delete the predictions of an event's finished submissions; scores are kept.

    Parameters
    ----------
    session : Session
    event_id : int
    predictions_dir : Path
        The event's directory of predictions.

    Returns
    -------
    n_submissions, n_bytes : int
        What was deleted. A submission that is being evaluated is left alone.
    """
    n_submissions = n_bytes = 0
    for submission_id in submissions.ids_by_state(session, event_id, FINAL):
        directory = predictions_dir / submissions.directory_name(submission_id)
        if directory.is_dir():
            n_bytes += sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
            shutil.rmtree(directory)
            n_submissions += 1
    return n_submissions, n_bytes
