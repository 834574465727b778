"""The teams of a rehearsal, which submit as planned whatever happens to the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ramp_database import people, submissions
from ramp_database.session import Database
from ramp_engine.errors import AlreadyExistsError, DatabaseUnavailableError
from ramp_engine.rehearsal import plan
from ramp_engine.rehearsal.plan import Arrival

__all__ = ["Crowd", "sign_up"]

#: Wait before a submission is tried again, when the database is away, in seconds.
RETRY_SECONDS = 0.2


def sign_up(database: Database, event_name: str, arrivals: Sequence[Arrival]) -> None:
    """Make the teams that will submit, and sign them up."""
    with database.session() as session:
        for team in sorted({arrival.team for arrival in arrivals}):
            people.ensure_signed_up(session, event_name, team)


class Crowd:
    """Submit as planned, from a thread.

    Parameters
    ----------
    database : Database
    event_name : str
    arrivals : sequence of Arrival

    Attributes
    ----------
    n_submitted : int
        How many submissions the database has taken.
    error : BaseException or None
        What ended the thread before all was submitted.
    """

    def __init__(self, database: Database, event_name: str, arrivals: Sequence[Arrival]) -> None:
        self.n_submitted = 0
        self.error: BaseException | None = None
        self._database = database
        self._event_name = event_name
        self._arrivals = arrivals
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._main, name="crowd", daemon=True)

    def start(self) -> None:
        """Begin to submit; the times of the plan count from now on."""
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether nobody will submit any more."""
        return not self._thread.is_alive()

    def leave(self) -> None:
        """Stop to submit, and wait for the submission that is under way."""
        self._leaving.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _main(self) -> None:
        began_at = time.monotonic()
        try:
            for arrival in self._arrivals:
                if self._leaving.wait(max(0.0, arrival.at_seconds + began_at - time.monotonic())):
                    return
                if not self._submit(arrival):
                    return
                self.n_submitted += 1
        except Exception as error:  # noqa: BLE001  told by the thread that waits
            self.error = error

    def _submit(self, arrival: Arrival) -> bool:
        """Submit, again for as long as the database is away; False when it is time to leave."""
        files = [submissions.SubmissionFile("estimator.py", plan.source_of(arrival.number))]
        may_be_there = False
        while True:
            try:
                with self._database.session() as session:
                    submissions.add(session, self._event_name, arrival.team, arrival.name, files)
            except DatabaseUnavailableError:
                may_be_there = True
                if self._leaving.wait(RETRY_SECONDS):
                    return False
            except AlreadyExistsError:
                if not may_be_there:
                    raise
                return True  # it had been committed, only the answer was lost
            else:
                return True
