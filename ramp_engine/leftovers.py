"""Sweeping up what dispatchers that died left on this machine's disk."""

from __future__ import annotations

import logging

from ramp_database import queue
from ramp_database.session import Database
from ramp_engine import attempt
from ramp_engine.config import EventConfig
from ramp_engine.fold_process import remove_tree
from ramp_engine.preparation import sweep_scratch

logger = logging.getLogger(__name__)


def sweep(database: Database, event: EventConfig, event_id: int) -> None:
    """Remove what nobody uses any more.

    The directory in which an adopted run was started stays until its attempt is over.

    Parameters
    ----------
    database : Database
    event : EventConfig
    event_id : int

    Raises
    ------
    DatabaseUnavailableError
        Nobody can be asked whose the directories are; those of attempts stay.
    """
    for path in sweep_scratch(event):
        logger.info("removed %s, which nobody uses any more", path)
    ramp = event.ramp
    attempts_dir = ramp.work_dir / "attempts"
    parents = (ramp.submissions_dir, ramp.predictions_dir, ramp.logs_dir)
    found = attempt.left_on_disk(attempts_dir, *parents)  # before asking
    with database.session(read_only=True) as session:
        claims = set(queue.owned_of_event(session, event_id))
    live = {(claim.submission_id, claim.attempt) for claim in claims}
    for path, claim in found.items():
        may_run = path.parent == attempts_dir and (claim.submission_id, claim.attempt) in live
        if claim not in claims and not may_run:
            remove_tree(path)
            logger.info("removed %s, which nobody works on any more", path)
