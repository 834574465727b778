"""Users, teams and sign-ups."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from ramp_database import clock, names
from ramp_database.errors import AlreadyExistsError, DatabaseError, NotFoundError
from ramp_database.events import get_event
from ramp_database.insertion import insert_named
from ramp_database.model import EventTeam, Team, TeamMember, User


def add_user(
    session: Session,
    login: str,
    *,
    firstname: str = "",
    lastname: str = "",
    email: str | None = None,
    access_level: str = "user",
    created_at: datetime | None = None,
) -> User:
    """Add a user.

    Parameters
    ----------
    session : Session
    login : str
        Name by which the user is known.
    firstname, lastname : str
    email : str, optional
        No two users share one.
    access_level : str
        ``asked``, ``user`` or ``admin``.
    created_at : datetime, optional
        Aware; default: now.

    Raises
    ------
    AlreadyExistsError
        The login or the address is taken.
    DatabaseError
        The login cannot be shown in a line.
    """
    _check_name("user", login)
    user = User(
        login=login,
        firstname=firstname,
        lastname=lastname,
        email=email or None,
        access_level=access_level,
        created_at=created_at or clock.read(session),
    )
    shown = f"{login} <{email}>" if email else login
    insert_named(session, user, "user", shown, "Choose another login or address")
    return user


def get_user(session: Session, login: str) -> User:
    """Find a user.

    Raises
    ------
    NotFoundError
        There is none of that login.
    """
    user = find_user(session, login)
    if user is None:
        known = session.scalars(select(User.login).order_by(User.login)).all()
        raise NotFoundError("user", login, known, "Add one with `ramp database add-user`")
    return user


def find_user(session: Session, login: str) -> User | None:
    """Find a user, if there is one of that login."""
    return session.scalar(select(User).where(User.login == login))


def add_team(
    session: Session, name: str, logins: Iterable[str] = (), *, created_at: datetime | None = None
) -> Team:
    """Add a team.

    Parameters
    ----------
    session : Session
    name : str
    logins : iterable of str
        Its members.
    created_at : datetime, optional
        Aware; default: now.

    Raises
    ------
    AlreadyExistsError
        The name is taken.
    DatabaseError
        The name cannot be shown in a line.
    NotFoundError
        There is no such user.
    """
    _check_name("team", name)
    members = {get_user(session, login).id for login in logins}
    team = Team(name=name, created_at=created_at or clock.read(session))
    insert_named(session, team, "team", name, "Choose another name")
    _add_members(session, team, members)
    return team


def ensure_members(session: Session, team: Team, logins: Iterable[str]) -> None:
    """Make users members of a team, as far as they are not.

    Raises
    ------
    NotFoundError
        There is no such user.
    """
    wanted = {get_user(session, login).id for login in logins}
    query = select(TeamMember.user_id).where(TeamMember.team_id == team.id)
    _add_members(session, team, wanted - set(session.scalars(query)))


def _add_members(session: Session, team: Team, user_ids: set[int]) -> None:
    rows = [{"team_id": team.id, "user_id": user_id} for user_id in sorted(user_ids)]
    if rows:
        session.execute(insert(TeamMember), rows)


def _check_name(kind: str, name: str) -> None:
    if not names.is_name(name):
        raise DatabaseError(f"the {kind} {name[:80]!r} is not allowed: a name is {names.EXPECTED}")


def get_team(session: Session, name: str) -> Team:
    """Find a team.

    Raises
    ------
    NotFoundError
        There is none of that name.
    """
    team = find_team(session, name)
    if team is None:
        known = session.scalars(select(Team.name).order_by(Team.name)).all()
        hint = "Add one with `ramp database add-team`, or submit with --create-team"
        raise NotFoundError("team", name, known, hint)
    return team


def find_team(session: Session, name: str) -> Team | None:
    """Find a team, if there is one of that name."""
    return session.scalar(select(Team).where(Team.name == name))


def sign_up_team(
    session: Session, event_name: str, team_name: str, *, at: datetime | None = None
) -> None:
    """Sign a team up to an event.

    Parameters
    ----------
    session : Session
    event_name, team_name : str
    at : datetime, optional
        When it did so, aware; default: now.

    Raises
    ------
    NotFoundError
        There is no such event or team.
    AlreadyExistsError
        The team is signed up already.
    """
    event, team = get_event(session, event_name), get_team(session, team_name)
    signed_up_at = at or clock.read(session)
    row = EventTeam(event_id=event.id, team_id=team.id, signed_up_at=signed_up_at)
    insert_named(session, row, "sign-up", f"{team_name} to {event_name}")


def ensure_signed_up(session: Session, event_name: str, team_name: str) -> None:
    """Make a team and sign it up, as far as that is not done; safe to call at once and again.

    Raises
    ------
    NotFoundError
        There is no such event.
    """
    event = get_event(session, event_name)
    team = find_team(session, team_name)
    if team is None:
        with suppress(AlreadyExistsError):  # made by another since
            team = add_team(session, team_name)
    team = team or get_team(session, team_name)
    if not is_signed_up(session, event.id, team.id):
        with suppress(AlreadyExistsError):
            sign_up_team(session, event_name, team_name)


def is_signed_up(session: Session, event_id: int, team_id: int) -> bool:
    """Tell whether a team is signed up to an event."""
    return session.get(EventTeam, (event_id, team_id)) is not None


def lock_sign_up(session: Session, event_id: int, team_id: int) -> bool:
    """Tell whether a team is signed up, and let no other of its submissions in until the end.

    Notes
    -----
    On SQLite every transaction that may write is alone anyway.
    """
    query = select(EventTeam.team_id).where(
        EventTeam.event_id == event_id, EventTeam.team_id == team_id
    )
    return session.scalar(query.with_for_update()) is not None


def list_teams(session: Session, event_name: str | None = None) -> list[Team]:
    """List the teams by name: all, or those that are signed up to an event.

    Raises
    ------
    NotFoundError
        There is no such event.
    """
    query = select(Team).order_by(Team.name)
    if event_name is not None:
        event = get_event(session, event_name)
        query = query.join(EventTeam, EventTeam.team_id == Team.id)
        query = query.where(EventTeam.event_id == event.id)
    return list(session.scalars(query))
