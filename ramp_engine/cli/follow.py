"""``ramp logs --follow``: what a submission prints, while it is trained."""

from __future__ import annotations

import codecs
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ramp_engine.cli import options

if TYPE_CHECKING:
    from ramp_database.queue import Claim
    from ramp_database.session import Database
    from ramp_database.states import State
    from ramp_engine.config import EventConfig
    from ramp_engine.live_log import LiveLog

#: Time between two looks at a submission and its log, in seconds.
LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class Standing:
    """Where a submission stands."""

    state: State
    error: str | None
    attempt: int  #: the newest, 0 before the first claim
    claim: Claim | None  #: of the attempt that is under way
    host: str | None  #: where its dispatcher runs


class Follower:
    """Follow the public log of a submission through its attempts, until it is final.

    Parameters
    ----------
    database : Database
    event : EventConfig
    submission_id : int
    """

    def __init__(self, database: Database, event: EventConfig, submission_id: int) -> None:
        self._database = database
        self._event = event
        self._number = submission_id
        self._claim: Claim | None = None  # of the attempt whose log is followed
        self._log: LiveLog | None = None
        self._shown_attempt = 0
        self._said = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def run(self) -> None:
        """Print until the submission is final; then say how it ended."""
        try:
            while True:
                standing = self._look()  # before the log: what was printed until then is there
                self._turn_to(standing.claim, standing.state.is_final)
                self._show()
                if standing.state.is_final:
                    break
                self._tell(standing)
                time.sleep(LOOK_SECONDS)
        finally:
            if self._log is not None:
                self._log.close()
        self._conclude(standing)

    def _look(self) -> Standing:
        from ramp_database import presence, submissions
        from ramp_database.queue import Claim

        with self._database.session(read_only=True) as session:
            row = submissions.get(session, self._number)
            owner = row.dispatcher_id
            if owner is None:
                return Standing(row.state, row.error, row.attempt, None, None)
            found = presence.of_numbers(session, {owner}).get(owner)
            claim = Claim(row.id, row.attempt, owner)
            host = found.host if found else None
            return Standing(row.state, row.error, row.attempt, claim, host)

    def _turn_to(self, claim: Claim | None, is_final: bool) -> None:
        """Take up the log of another attempt; what is left of the last one's is shown first."""
        from ramp_database.submissions import directory_name
        from ramp_engine.attempt import attempt_directory
        from ramp_engine.live_log import LiveLog

        if claim == self._claim or is_final:
            return
        self._show()
        if self._log is not None:
            self._log.close()
        self._claim, self._log = claim, None
        if claim is not None:
            name = directory_name(self._number)
            self._log = LiveLog(attempt_directory(self._event.ramp.work_dir, name, claim))

    def _show(self) -> None:
        while self._log is not None and self._claim and (chunk := self._log.read()):
            self._shown_attempt = self._claim.attempt
            if sys.stdout.isatty():
                sys.stdout.write(options.visible(self._decoder.decode(chunk)))
            else:
                sys.stdout.buffer.write(chunk)
            sys.stdout.flush()

    def _tell(self, standing: Standing) -> None:
        """Say on stderr what is waited for, once."""
        is_open = self._log is not None and self._log.is_open
        text = f"submission {self._number} {situation(standing, socket.gethostname(), is_open)}"
        if text != self._said:
            click.echo(options.visible(text, keep=""), err=True)
        self._said = text

    def _conclude(self, standing: Standing) -> None:
        from ramp_engine.run import submission_log

        path = submission_log(self._event, self._number)
        if self._shown_attempt != standing.attempt and path.is_file():
            options.echo_file(path)
        click.echo(f"\nsubmission {self._number} has ended: {standing.state}", err=True)
        if standing.error:
            click.echo(options.visible(standing.error.strip()), err=True)


def situation(standing: Standing, host: str, is_open: bool) -> str:
    """Say of a submission that has not ended what its log is waiting for.

    Parameters
    ----------
    standing : Standing
    host : str
        This machine.
    is_open : bool
        Whether the log was found here.
    """
    if standing.claim is None:
        return "waits to be evaluated: its log begins when it is trained"
    attempt = f"attempt {standing.attempt}"
    if is_open:
        return f"runs, {attempt}: its log follows"
    if standing.host is not None and standing.host != host:
        return f"runs on {standing.host}, {attempt}: follow it there, or wait here for its end"
    return f"is {standing.state}, {attempt}: there is no log on this machine yet"
