"""Sweeping up what dispatchers that died left on this machine's disk."""

from __future__ import annotations

import logging
from pathlib import Path

from ramp_database import queue, submissions
from ramp_database.session import Database
from ramp_engine import attempt, done_folds
from ramp_engine.attempt import AttemptDirectory
from ramp_engine.config import EventConfig
from ramp_engine.errors import DatabaseUnavailableError
from ramp_engine.fold_process import remove_tree
from ramp_engine.preparation import sweep_scratch

logger = logging.getLogger(__name__)


class Sweeper:
    """Remove what nobody uses any more.

    Parameters
    ----------
    database : Database
    event : EventConfig
    event_id : int

    Attributes
    ----------
    is_due : bool
        Whether the last sweep could not be finished, and is to be done again.
    """

    def __init__(self, database: Database, event: EventConfig, event_id: int) -> None:
        self.is_due = False
        self._database = database
        self._event = event
        self._event_id = event_id

    def sweep(self) -> None:
        """Sweep once; while the database is away, attempts stay: nobody tells whose they are.

        The directory in which an adopted run was started stays until its attempt is over.
        """
        for path in sweep_scratch(self._event):
            logger.info("removed %s, which nobody uses any more", path)
        try:
            self._sweep_attempts()
            self.sweep_kept()
        except DatabaseUnavailableError as error:
            self.is_due = True
            logger.warning("what attempts left stays until the database is back: %s", error)
        else:
            self.is_due = False

    def _sweep_attempts(self) -> None:
        ramp = self._event.ramp
        attempts_dir = ramp.work_dir / "attempts"
        parents = (ramp.submissions_dir, ramp.predictions_dir, ramp.logs_dir)
        found = attempt.left_on_disk(attempts_dir, *parents)  # before asking
        with self._database.session(read_only=True) as session:
            claims = set(queue.owned_of_event(session, self._event_id))
            ids = {claim.submission_id for claim in found.values()}
            open_ids = submissions.open_ids(session, ids) if ids else set()
        live = {(claim.submission_id, claim.attempt) for claim in claims}
        # the newest first: of several attempts its folds are kept
        for path, claim in sorted(found.items(), key=lambda item: -item[1].attempt):
            may_run = path.parent == attempts_dir and (claim.submission_id, claim.attempt) in live
            if claim not in claims and not may_run:
                if path.parent == attempts_dir and claim.submission_id in open_ids:
                    self._keep_folds(path, claim)
                remove_tree(path)
                logger.info("removed %s, which nobody works on any more", path)

    def _keep_folds(self, path: Path, claim: queue.Claim) -> None:
        name = submissions.directory_name(claim.submission_id)
        target = done_folds.kept_directory(self._event.ramp.work_dir, name)
        if done_folds.rescue(AttemptDirectory(path, name), target):
            logger.info("kept folds of submission %d that are done", claim.submission_id)

    def sweep_kept(self) -> None:
        """Remove folds that are kept for submissions which have come to their end otherwise.

        Such as canceled while they waited, or scored on another machine.

        Raises
        ------
        DatabaseUnavailableError
            The database is away.

        Notes
        -----
        No statement while nothing is kept, one otherwise.
        """
        found = done_folds.kept_submissions(self._event.ramp.work_dir)
        if not found:
            return
        with self._database.session(read_only=True) as session:
            open_ids = submissions.open_ids(session, found.values())
        for path, id_ in found.items():
            if id_ not in open_ids:
                remove_tree(path)
                logger.info("removed %s, which nobody needs any more", path)
