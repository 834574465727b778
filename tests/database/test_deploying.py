"""People, problems, events, submissions and their files."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select

from ramp_database import events, people, queue, submissions
from ramp_database.errors import (
    AlreadyExistsError,
    DatabaseError,
    NotFoundError,
    SubmissionRejectedError,
)
from ramp_database.events import FoldSpec, ScoreTypeSpec
from ramp_database.model import Base, Problem, TeamMember
from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.status import event_status
from ramp_database.submissions import SubmissionFile
from ramp_database.testing import ACCURACY, TOY, add_toy_event, add_toy_submission, toy_spec
from tests.database.conftest import Toy

FILES = [
    SubmissionFile("estimator.py", b"# caf\xc3\xa9\r\n"),
    SubmissionFile("data/a b.csv", b"\x00\xff"),
]


def test_users_and_teams_are_found_by_name(database: Database) -> None:
    with database.session() as session:
        people.add_user(session, "ada", firstname="Ada", lastname="L", email="ada@example.org")
        people.add_user(session, "bob")
        people.add_user(session, "cyd", email="")
        team = people.add_team(session, "red", ["ada", "bob", "ada"])
        assert people.get_user(session, "ada").email == "ada@example.org"
        assert people.get_user(session, "bob").access_level == "user"
        assert people.get_team(session, "red").id == team.id
        assert session.scalar(select(func.count()).select_from(TeamMember)) == 2


def test_names_are_taken_once_and_the_transaction_goes_on(database: Database) -> None:
    with database.session() as session:
        people.add_user(session, "ada", email="ada@example.org")
        people.add_team(session, "red")
        with pytest.raises(AlreadyExistsError, match="'red' exists already"):
            people.add_team(session, "red")
        with pytest.raises(AlreadyExistsError):
            people.add_user(session, "ada")
        with pytest.raises(AlreadyExistsError):
            people.add_user(session, "other", email="ada@example.org")
        people.add_team(session, "blue")
    with database.session() as session:
        assert [team.name for team in people.list_teams(session)] == ["blue", "red"]


def test_what_is_not_there_is_told_with_the_nearest_name(toy: Toy) -> None:
    with toy.session() as session:
        people.add_team(session, "amaranth")
        people.add_user(session, "ada")
        with pytest.raises(NotFoundError, match="did you mean 'amaranth'"):
            people.get_team(session, "amarant")
        with pytest.raises(NotFoundError, match="add-user"):
            people.get_user(session, "bob")
        with pytest.raises(NotFoundError, match="did you mean 'toy'"):
            events.get_event(session, "toyy")
        with pytest.raises(NotFoundError):
            submissions.get(session, 1)
        with pytest.raises(NotFoundError):
            event_status(session, toy.event_id + 1)


def test_a_team_signs_up_once(toy: Toy) -> None:
    with toy.session() as session:
        people.add_team(session, "red")
        people.sign_up_team(session, TOY, "red")
        with pytest.raises(AlreadyExistsError):
            people.sign_up_team(session, TOY, "red")
        people.ensure_signed_up(session, TOY, "red")
        people.ensure_signed_up(session, TOY, "blue")
        people.add_team(session, "green")
        with pytest.raises(NotFoundError):
            people.ensure_signed_up(session, "unknown", "black")
        assert [team.name for team in people.list_teams(session, TOY)] == ["blue", "red"]


def test_an_event_is_stored_as_it_was_described(database: Database) -> None:
    kinds = (ACCURACY, ScoreTypeSpec("error", 2, is_lower_the_better=True, minimum=0.0))
    with database.session() as session:
        add_toy_event(session, score_types=kinds)
    with database.session() as session:
        event = events.get_event(session, TOY)
        assert (event.problem.name, event.n_folds, event.n_train, event.n_test) == (TOY, 2, 20, 10)
        assert event.required_files == ["estimator.py"]
        assert [kind.name for kind in event.score_types] == ["accuracy", "error"]
        assert (event.score_types[1].minimum, event.score_types[1].maximum) == (0.0, None)
        assert events.folds(session, event.id) == [b"fold 0", b"fold 1"]
        assert [row.name for row in events.list_events(session)] == [TOY]
        with pytest.raises(AlreadyExistsError, match="'toy'"):
            add_toy_event(session)


def test_several_events_may_be_about_one_problem(database: Database) -> None:
    with database.session() as session:
        for name in ("spring", "autumn"):
            events.add_event(session, name, "seasons", toy_spec())
        events.ensure_problem(session, "seasons", "The seasons")
        assert session.scalars(select(Problem.title)).all() == ["The seasons"]


def test_score_types_are_read_from_the_prepare_step() -> None:
    told = {
        "name": "rmse",
        "precision": 3,
        "is_lower_the_better": True,
        "minimum": 0,
        "maximum": float("inf"),
    }
    assert ScoreTypeSpec.from_json(told) == ScoreTypeSpec("rmse", 3, True, 0.0, None)


@pytest.mark.parametrize("missing", ["score_types", "folds"])
def test_an_event_needs_score_types_and_folds(database: Database, missing: str) -> None:
    spec = toy_spec(n_folds=0) if missing == "folds" else toy_spec(score_types=())
    with database.session() as session, pytest.raises(DatabaseError, match="has no"):
        events.add_event(session, TOY, TOY, spec)


def test_an_event_that_is_deployed_again_keeps_its_submissions(toy: Toy) -> None:
    claim = toy.bring_to(State.SCORED)
    spec = toy_spec(n_folds=3, title="Toy, again")
    with toy.session() as session:
        events.update_event(session, TOY, spec)
    with toy.session() as session:
        event = events.get_event(session, TOY)
        assert (event.title, event.n_folds) == ("Toy, again", 3)
        assert len(events.folds(session, event.id)) == 3
    row = toy.row(claim.submission_id)
    assert (row.state, row.public_score) == (State.SCORED, 0.5)


def test_a_deleted_event_leaves_people_and_other_events(toy: Toy) -> None:
    for state in State:
        toy.bring_to(state)
    with toy.session() as session:
        other = add_toy_event(session, "other").id
        kept = add_toy_submission(session, "other", "team").id
        events.delete_event(session, TOY)
    with toy.session() as session:
        assert [row.name for row in events.list_events(session)] == ["other"]
        assert [team.name for team in people.list_teams(session)] == ["team"]
        assert submissions.ids_by_state(session, other, list(State)) == [kept]
        for table in ("attempts", "fold_scores", "bagged_scores", "dispatchers", "fold_times"):
            rows = session.execute(select(func.count()).select_from(Base.metadata.tables[table]))
            assert rows.scalar_one() == 0, table


def test_a_submission_keeps_its_files(toy: Toy, tmp_path: Path) -> None:
    with toy.session() as session:
        people.ensure_signed_up(session, TOY, "red")
        people.add_user(session, "ada")
        row = submissions.add(session, TOY, "red", "first try", FILES, login="ada")
        assert (row.state, row.attempt, row.team.name) == (State.NEW, 0, "red")
        assert row.user_id is not None
        found = submissions.assignment(session, row.id).files
    assert found == sorted(FILES, key=lambda file: file.path)
    submissions.write_files(found, tmp_path / "made" / "here")
    assert (tmp_path / "made/here/estimator.py").read_bytes() == b"# caf\xc3\xa9\r\n"
    assert (tmp_path / "made/here/data/a b.csv").read_bytes() == b"\x00\xff"
    (step,) = toy.history(row.id)
    assert (step.from_state, step.to_state, step.reason) == (None, "new", "submitted")


def test_the_content_hash_tells_contents_apart_and_not_orders() -> None:
    def one(path: str, content: bytes) -> SubmissionFile:
        return SubmissionFile(path, content)

    plain = submissions.content_hash(FILES)
    assert plain == submissions.content_hash(FILES[::-1])
    hashes = {
        plain,
        submissions.content_hash(FILES[:1]),
        submissions.content_hash([one("a", b"bc")]),
        submissions.content_hash([one("ab", b"c")]),
        submissions.content_hash([one("a", b""), one("bc", b"")]),
        submissions.content_hash([one("a\udcff", b"")]),
    }
    assert len(hashes) == 6
    assert len(plain) == 64


def test_a_team_that_is_not_signed_up_cannot_submit(toy: Toy) -> None:
    with toy.session() as session:
        people.add_team(session, "red")
        with pytest.raises(NotFoundError, match="sign-up-team --event toy --team red"):
            submissions.add(session, TOY, "red", "first", FILES)


def test_a_team_names_its_submissions_once_for_each_event(toy: Toy) -> None:
    with toy.session() as session:
        add_toy_event(session, "other")
        add_toy_submission(session, team_name="red", name="first")
        add_toy_submission(session, team_name="blue", name="first")
        add_toy_submission(session, "other", team_name="red", name="first")
        with pytest.raises(AlreadyExistsError, match="--name"):
            add_toy_submission(session, team_name="red", name="first")


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a\0b", "a//b", "./a", "a\\b", ".."]
)
def test_a_path_that_leads_elsewhere_is_refused(toy: Toy, tmp_path: Path, path: str) -> None:
    files = [*FILES, SubmissionFile(path, b"")]
    with toy.session() as session:
        people.ensure_signed_up(session, TOY, "red")
        with pytest.raises(SubmissionRejectedError, match="not allowed"):
            submissions.add(session, TOY, "red", "first", files)
    with pytest.raises(SubmissionRejectedError):
        submissions.write_files(files, tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "no files"),
        ([FILES[1]], "requires 'estimator.py'"),
        ([FILES[0], FILES[0]], "'estimator.py' twice"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    toy: Toy, files: list[SubmissionFile], words: str
) -> None:
    with toy.session() as session:
        people.ensure_signed_up(session, TOY, "red")
        with pytest.raises(SubmissionRejectedError, match=words):
            submissions.add(session, TOY, "red", "first", files)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0b", "x" * 201])
def test_a_name_must_fit_into_a_line(toy: Toy, name: str) -> None:
    with toy.session() as session:
        people.ensure_signed_up(session, TOY, "red")
        with pytest.raises(SubmissionRejectedError, match="name"):
            submissions.add(session, TOY, "red", name, FILES)


def test_submissions_are_listed_by_state_and_named_for_people(toy: Toy) -> None:
    first, second = toy.submit("red", "one"), toy.submit("blue", "two")
    toy.do(queue.cancel, first, "no more")
    with toy.session() as session:
        listed = submissions.by_state(session, toy.event_id)
        assert [row.id for row in listed] == [first, second]
        assert [row.team.name for row in listed] == ["red", "blue"]
        (new,) = submissions.by_state(session, toy.event_id, State.NEW)
        assert (new.id, new.event.name) == (second, TOY)
        assert submissions.ids_by_state(session, toy.event_id, {State.CANCELED}) == [first]
        claims = [Claim(first, 1, 7), Claim(second, 1, 7, "of its", "claim")]
        assert submissions.titles(session, claims) == {
            first: ("red", "one"),
            second: ("of its", "claim"),
        }


def test_the_name_of_a_directory_is_a_number() -> None:
    assert submissions.directory_name(42) == "submission_000000042"


def test_the_status_tells_states_submissions_and_dispatchers(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    toy.do(queue.fail, claim, State.TRAINING_ERROR, "ValueError: no", "failed")
    other = toy.submit("blue", "two")
    with toy.database.session(read_only=True) as session:
        found = event_status(session, toy.event_id)
        newest = event_status(session, toy.event_id, limit=1)
    assert found["event"] == TOY
    assert found["states"] == {"new": 1, "training_error": 1} == newest["states"]
    assert list(found["states"]) == ["new", "training_error"]
    failed, waiting = found["submissions"]
    assert (failed["id"], failed["state"]) == (claim.submission_id, "training_error")
    assert (failed["error"], failed["outcome"], failed["attempt"]) == (
        "ValueError: no",
        "failed",
        1,
    )
    assert (waiting["id"], waiting["team"], waiting["name"]) == (other, "blue", "two")
    assert waiting["submitted_at"].endswith("+00:00")
    assert [row["id"] for row in newest["submissions"]] == [other]
    assert (waiting["queue_place"], waiting["waiting_reason"]) == (1, "starting")
    assert [row["id"] for row in found["dispatchers"]] == [claim.dispatcher_id]


def test_folds_are_kept_as_they_were_drawn(database: Database) -> None:
    content = bytes(range(256)) * 1000
    spec = toy_spec()
    spec = type(spec)(**vars(spec) | {"folds": (FoldSpec(8, 2, content),)})
    with database.session() as session:
        event = events.add_event(session, TOY, TOY, spec)
        assert events.folds(session, event.id) == [content]
