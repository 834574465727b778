"""Take an event over from RAMP: teams, their people, and their submissions, to be evaluated here.

Scores stay behind: what submitted code could have written is no result. Each submission is a
transaction of its own, its files are read before that, and what is there already stays as it is: an
import that was cut short is simply run again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy.orm import Session

from ramp_database import events, people, submissions
from ramp_database.ramp_board import OldEvent, OldSubmission, OldTeam, OldUser
from ramp_database.session import Database
from ramp_database.submissions import SubmissionFile
from ramp_engine.errors import AlreadyExistsError, SubmissionRejectedError
from ramp_engine.intake import read_files

__all__ = ["Import", "Taken"]


@dataclass(frozen=True)
class Taken:
    """What became of one submission of RAMP's."""

    submission: OldSubmission
    outcome: Literal["taken", "there", "refused"]  #: there: the same one was taken before
    id: int | None = None  #: its number here; None when it was refused, or would be taken
    reason: str = ""  #: why it was refused


class Import:
    """The taking over of an event.

    Parameters
    ----------
    database : Database
        Where it goes.
    event_name : str
        The event's name there; it must be deployed.
    old : OldEvent
        What is taken over.
    submissions_dir : Path
        The folder that holds RAMP's folders ``submission_...``.
    is_dry : bool
        Whether every transaction is taken back: nothing stays.

    Attributes
    ----------
    new_users, new_teams : set of str
        Who was not known before.
    without_address : list of str
        Users whose address belongs to somebody else here; they were taken without it.
    """

    def __init__(
        self,
        database: Database,
        event_name: str,
        old: OldEvent,
        submissions_dir: Path,
        *,
        is_dry: bool = False,
    ) -> None:
        self._database = database
        self._event_name = event_name
        self._old = old
        self._submissions_dir = submissions_dir
        self._is_dry = is_dry
        self._teams = {team.name: team for team in old.teams}
        self.new_users: set[str] = set()
        self.new_teams: set[str] = set()
        self.without_address: list[str] = []

    def take_people(self) -> None:
        """Take over the teams and their members, and sign the teams up.

        Raises
        ------
        NotFoundError
            The event is not deployed.
        DatabaseError
            A name is not allowed here.
        """
        with self._transaction() as session:
            events.get_event(session, self._event_name)
            for team in self._old.teams:
                self._ensure_team(session, team)

    def take_submissions(self, states: Collection[str] = ()) -> Iterator[Taken]:
        """Take over the submissions, the earliest first.

        Parameters
        ----------
        states : collection of str
            Only those that are in one of these states at RAMP; none: all.

        Yields
        ------
        Taken
            As soon as it is done.
        """
        for one in self._old.submissions:
            if not states or one.state in states:
                yield self._take(one)

    def _take(self, one: OldSubmission) -> Taken:
        try:
            files = self._files(one)
            with self._transaction() as session:
                return self._added(session, one, files)
        except (SubmissionRejectedError, AlreadyExistsError) as error:
            return Taken(one, "refused", reason=str(error))

    def _files(self, one: OldSubmission) -> list[SubmissionFile]:
        """Read the files that RAMP knows of; what a run left beside them stays there."""
        folder = self._submissions_dir / one.directory
        if not folder.is_dir():
            raise SubmissionRejectedError(f"there is no folder {folder}")
        missing = [path for path in one.paths if not (folder / path).is_file()]
        if missing:
            raise SubmissionRejectedError(f"there is no {folder / missing[0]}")
        return read_files(folder, only=one.paths)

    def _added(self, session: Session, one: OldSubmission, files: list[SubmissionFile]) -> Taken:
        event_id = events.get_event(session, self._event_name).id
        known = submissions.find(session, event_id, one.team, one.name)
        if known is not None:
            if known.content_hash == submissions.content_hash(files):
                return Taken(one, "there", known.id)
            raise AlreadyExistsError(
                "submission", f"{one.team}/{one.name}", f"It is number {known.id}, with other files"
            )
        if self._is_dry:  # what `take_people` did was taken back
            self._ensure_team(session, self._teams[one.team])
        row = submissions.take_over(
            session,
            self._event_name,
            one.team,
            one.name,
            files,
            submitted_at=one.submitted_at,
            reason=f"taken over from RAMP, where it was submission {one.id} ({one.state})",
        )
        return Taken(one, "taken", None if self._is_dry else row.id)

    def _ensure_team(self, session: Session, old: OldTeam) -> None:
        for user in old.members:
            self._ensure_user(session, user)
        logins = [user.login for user in old.members]
        team = people.find_team(session, old.name)
        if team is None:
            team = people.add_team(session, old.name, logins, created_at=old.created_at)
            self.new_teams.add(old.name)
        people.ensure_members(session, team, logins)
        event_id = events.get_event(session, self._event_name).id
        if not people.is_signed_up(session, event_id, team.id):
            people.sign_up_team(session, self._event_name, old.name, at=old.signed_up_at)

    def _ensure_user(self, session: Session, old: OldUser) -> None:
        if people.find_user(session, old.login) is not None:
            return
        try:
            self._add_user(session, old, old.email)
        except AlreadyExistsError:
            self._add_user(session, old, None)
            if old.login not in self.without_address:
                self.without_address.append(old.login)
        self.new_users.add(old.login)

    @staticmethod
    def _add_user(session: Session, old: OldUser, email: str | None) -> None:
        is_confirmed = old.access_level != "not_confirmed"
        people.add_user(
            session,
            old.login,
            firstname=old.firstname,
            lastname=old.lastname,
            email=email,
            access_level=old.access_level if is_confirmed else "asked",
            created_at=old.created_at,
        )

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        """Open a transaction, which is taken back at its end when nothing is to stay."""
        with suppress(_DryRunError), self._database.session() as session:
            yield session
            if self._is_dry:
                raise _DryRunError


class _DryRunError(Exception):
    """Nothing was wrong; the transaction is to be taken back."""
