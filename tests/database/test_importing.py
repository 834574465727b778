"""An event of RAMP is taken over: what is taken, what is not, and that nothing is changed there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import URL, select

from ramp_database import history, people, submissions
from ramp_database.errors import DatabaseError, DatabaseUnavailableError, NotFoundError
from ramp_database.model import EventTeam, SubmissionFile, Team, TeamMember, User
from ramp_database.ramp_board import read_event
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY
from ramp_engine.cli import edge
from ramp_engine.cli.main import ramp
from ramp_engine.importing import Import, Taken
from ramp_engine.intake import MAX_BYTES
from tests.database.conftest import Toy
from tests.database.old_ramp import LONG_AGO, OldRamp, user_teams

DRY = "nothing is changed; without --dry-run it would be:"
THEN = LONG_AGO.replace(tzinfo=UTC)


@pytest.fixture
def old(database: Database, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OldRamp]:
    """RAMP on the kind of database that we are on: two teams of which one has two members."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if database.engine.dialect.name == "postgresql":
        url = request.getfixturevalue("make_postgresql_url")("template0")
    made = OldRamp(url, tmp_path / "old_submissions")
    ada, bob, cyd = (made.user(name) for name in ("ada", "bob", "cyd"))
    dan = made.user("dan", access_level="not_confirmed")
    red = made.team("red", ada, [ada, bob])
    blue = made.team("blue", cyd)
    made.team("waiting", dan, is_approved=False)
    for sign_up in (red, blue):
        made.submission(sign_up, "starting_kit", "kit = 1\n")
    made.submission(red, "second", "second = 1\n", submission_timestamp=datetime(2023, 3, 3, 9))
    made.submission(red, "first", "first = 1\n", state="training_error")
    made.submission(blue, "regretted", "regretted = 1\n", is_valid=False)
    made.submission(blue, "tried", "tried = 1\n", type="test")
    yield made
    made.engine.dispose()


def take(toy: Toy, old: OldRamp, *, is_dry: bool = False) -> tuple[Import, list[Taken]]:
    read = read_event(old.url, TOY)
    running = Import(toy.database, TOY, read, read.submissions_dir, is_dry=is_dry)
    running.take_people()
    return running, list(running.take_submissions())


def test_teams_people_and_submissions_come_with_files_and_dates(toy: Toy, old: OldRamp) -> None:
    running, taken = take(toy, old)
    assert running.new_teams == {"red", "blue"}
    assert [(one.outcome, one.submission.name) for one in taken] == [
        ("taken", "first"),
        ("taken", "second"),
    ]
    with toy.session() as session:
        logins = select(User.login).join(TeamMember).join(Team).where(Team.name == "red")
        assert set(session.scalars(logins)) == {"ada", "bob"}
        ada = people.get_user(session, "ada")
        assert (ada.email, ada.access_level, ada.created_at) == ("ada@example.org", "user", THEN)
        assert set(session.scalars(select(EventTeam.signed_up_at))) == {THEN}
        first, second = submissions.by_state(session, toy.event_id, State.NEW)
        assert first.submitted_at == THEN
        assert second.submitted_at == datetime(2023, 3, 3, 9, tzinfo=UTC)
        assert (first.public_score, first.outcome) == (None, None)
        files = session.execute(select(SubmissionFile.path, SubmissionFile.content)).all()
        assert sorted(map(tuple, files)) == [
            ("estimator.py", b"first = 1\n"),
            ("estimator.py", b"second = 1\n"),
        ]
        (arrival,) = history.read(session, first.id).steps
        assert arrival.reason == "taken over from RAMP, where it was submission 4 (training_error)"


def test_what_is_not_taken_is_counted_with_the_reason(old: OldRamp) -> None:
    assert read_event(old.url, TOY).left_out == {
        "teams that were not admitted": 1,
        "starting kits, of which RAMP makes a copy for each team": 2,
        "submissions that were deleted": 1,
        "submissions of the type 'test'": 1,
    }


def test_again_it_takes_what_is_new_only(toy: Toy, old: OldRamp) -> None:
    take(toy, old)
    old.submission(2, "third", "third = 1\n", submission_timestamp=datetime(2023, 4, 1))
    running, taken = take(toy, old)
    assert [one.outcome for one in taken] == ["there", "there", "taken"]
    assert running.new_teams == running.new_users == set()
    with toy.session() as session:
        assert len(submissions.by_state(session, toy.event_id)) == 3


def test_a_dry_run_tells_the_same_and_leaves_nothing(toy: Toy, old: OldRamp) -> None:
    running, taken = take(toy, old, is_dry=True)
    assert [one.outcome for one in taken] == ["taken", "taken"]
    assert running.new_users == {"ada", "bob", "cyd"}
    with toy.session() as session:
        assert people.find_user(session, "ada") is None
        assert people.find_team(session, "red") is None
        assert submissions.by_state(session, toy.event_id) == []


def test_what_cannot_be_taken_is_told_and_the_others_are_taken(toy: Toy, old: OldRamp) -> None:
    take(toy, old)
    old.write(3, "second = 2\n")  # other files than were taken
    gone = old.submission(2, "gone")
    half = old.submission(2, "half")
    old.write(half, "half = 1\n")
    (old.folder / f"submission_{half:09d}" / "estimator.py").unlink()
    old.submission(2, "fine", "fine = 1\n")
    _, taken = take(toy, old)
    refused = {one.submission.name: one.reason for one in taken if one.outcome == "refused"}
    assert set(refused) == {"second", "gone", "half"}
    assert "with other files" in refused["second"]
    assert f"there is no folder {old.folder}/submission_{gone:09d}" in refused["gone"]
    assert f"submission_{half:09d}/estimator.py" in refused["half"]
    assert [one.submission.name for one in taken if one.outcome == "taken"] == ["fine"]


def test_what_a_run_of_ramp_left_is_no_reason_to_refuse(toy: Toy, old: OldRamp) -> None:
    number = old.submission(2, "trained", "trained = 1\n")
    folder = old.folder / f"submission_{number:09d}"
    with (folder / "model.bin").open("wb") as model:
        model.truncate(MAX_BYTES + 1)
    (folder / "data").symlink_to("/elsewhere")
    _, taken = take(toy, old)
    assert {one.outcome for one in taken} == {"taken"}


def test_an_address_that_somebody_else_has_here_is_left_out(toy: Toy, old: OldRamp) -> None:
    with toy.session() as session:
        people.add_user(session, "lovelace", email="ada@example.org")
    running, _ = take(toy, old)
    assert running.without_address == ["ada"]
    with toy.session() as session:
        assert people.get_user(session, "ada").email is None


def test_a_version_of_ramp_without_members_of_teams_is_read(toy: Toy, old: OldRamp) -> None:
    user_teams.drop(old.engine)
    running, _ = take(toy, old)
    assert running.new_users == {"ada", "cyd"}


def test_nothing_is_written_at_ramps(tmp_path: Path, toy: Toy, old: OldRamp) -> None:
    def state() -> object:
        if toy.database.engine.dialect.name == "sqlite":
            return (tmp_path / "old.db").read_bytes(), set(tmp_path.iterdir())
        with old.engine.connect() as connection:  # a transaction that writes takes a number
            return connection.exec_driver_sql("SELECT txid_current_snapshot()::text").scalar_one()

    before = state()
    read_event(old.url, TOY)
    assert state() == before


def test_a_file_with_an_odd_path_is_read_and_no_other_one_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a?b #1%20"
    folder.mkdir()
    made = OldRamp("sqlite://", tmp_path / "submissions")
    file = folder / "old.db"
    with made.engine.connect() as connection:
        connection.exec_driver_sql("VACUUM INTO ?", (str(file),))
    made.engine.dispose()
    before = set(tmp_path.iterdir())
    read = read_event(URL.create("sqlite", database=str(file)), TOY)
    assert (read.name, read.teams) == (TOY, [])
    assert set(tmp_path.iterdir()) == before


def test_other_databases_and_events_are_told_apart(tmp_path: Path, toy: Toy, old: OldRamp) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'toy'"):
        read_event(old.url, "toyy")
    with pytest.raises(DatabaseError, match="is no database of RAMP: it has no table 'w"):
        read_event(toy.database.engine.url, TOY)
    with pytest.raises(DatabaseUnavailableError, match="there is no such file"):
        read_event(f"sqlite:///{tmp_path}/none.db", TOY)


def test_the_command_reads_ramps_config_and_says_what_it_did(
    tmp_path: Path, toy: Toy, old: OldRamp, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = tmp_path / "here.yml", tmp_path / "there.yml"
    url = toy.database.engine.url.render_as_string(hide_password=False)
    here.write_text(f"sqlalchemy: {{url: '{url}'}}")
    there.write_text(f"flask: {{secret_key: x}}\nsqlalchemy: {{url: '{old.url}'}}")
    number = old.submission(1, "gone")
    command = ["database", "import-ramp", str(there), "--config", str(here), "--event", TOY]

    def run(*more: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as caught:
            edge.run(ramp, "ramp", [*command, *more])
        return (caught.value.code, *capsys.readouterr())

    code, told, _ = run("--dry-run")
    assert (code, told.splitlines()[0]) == (3, DRY)
    code, told, errors = run("--state", "scored")
    assert code == 3
    assert told.startswith(
        "2 teams and 3 users made\n1 submissions taken\n1 submissions refused\nleft out: "
    )
    folder = old.folder / f"submission_{number:09d}"
    assert (
        f"red/gone (submission {number} of RAMP): submission not taken: there is no folder "
        f"{folder}" in errors
    )
