"""What holds whatever was killed, paused or cut off: checks for tests of workers and dispatchers.

Run dispatchers, do them harm, let others finish, and then ask::

    with database.session(read_only=True) as session:
        assert violations(session, event_id) == []
        assert violations_on_disk(session, event_id, event) == []

Both only read, and give an empty list when all is well, so that a failing test shows every broken
promise at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ramp_database.model import (
    Attempt,
    BaggedScore,
    Base,
    Dispatcher,
    Fold,
    FoldScore,
    FoldTime,
    ScoreType,
    Submission,
    SubmissionEvent,
)
from ramp_database.predictions import DELETED
from ramp_database.queue.counting import count_states
from ramp_database.states import FINAL, OWNED, TRANSITIONS, State
from ramp_database.submissions import directory_name
from ramp_engine.attempt import made_with
from ramp_engine.config import EventConfig
from ramp_engine.evaluation.kept import is_test_only

__all__ = ["violations", "violations_on_disk"]

_CLAIMED = (State.NEW, State.SENT_TO_TRAINING)
#: Outcomes of attempts after which a submission is evaluated again, unless somebody canceled it.
_AGAIN = frozenset({"crashed", "interrupted"})
_SCORE_TABLES: tuple[type[Base], ...] = (FoldScore, FoldTime, BaggedScore)


def violations(session: Session, event_id: int, *, is_over: bool = True) -> list[str]:
    """Find what contradicts "nothing is lost, nothing is stuck, each is recorded once".

    Parameters
    ----------
    session : Session
        Best one that only reads: it sees one moment.
    event_id : int
    is_over : bool, default=True
        Whether everything should have come to its end: no submission is open, no attempt is
        under way. Otherwise only what holds at any moment is looked at.

    Returns
    -------
    list of str
        A sentence for each violation, by submission; empty when all holds:

        * the history of a submission begins with its arrival, has no gap, knows allowed transitions
          only, all of the newest attempt, and ends with the state of now; so a final state is
          entered once, and once more for each time that it was reopened;
        * its attempts are numbered from 1 without a gap, each was claimed once, and all but the
          newest of an owned submission have ended; no more of them have a result than it came to
          an end, and what a dispatcher ended has the outcome of the newest;
        * who is owned has an owner, who is not has none, and no wish to be canceled waits;
        * who is scored has the scores of each fold and score type, the times of each fold, a place
          on the leaderboard, and the score of its bagged predictions; nobody else has any of these;
        * only an attempt under way has partial scores, of folds of the event;
        * with `is_over`, its state is final;
        * what is counted of each state is what is there.

    Notes
    -----
    Ten statements, whatever the number of submissions.
    """
    evidence = _Evidence(session, event_id)
    found: list[str] = []
    for row in evidence.rows:
        problems = [
            *_of_history(row, evidence.steps[row.id]),
            *_of_attempts(row, evidence.attempts[row.id], evidence.steps[row.id]),
            *_of_partial_scores(row, evidence.attempts[row.id], evidence.n_folds),
            *_of_outcomes(row, evidence.attempts[row.id], evidence.steps[row.id]),
            *_of_owner(row, evidence.ended_dispatchers if is_over else frozenset()),
            *_of_scores(row, evidence),
        ]
        if is_over and not row.state.is_final:
            problems.append(f"it is {row.state}, which is not final")
        found += [f"submission {row.id}: {problem}" for problem in problems]
    return [*found, *_of_counts(session, event_id, evidence)]


def _of_counts(session: Session, event_id: int, evidence: _Evidence) -> Iterator[str]:
    there = dict(Counter(row.state for row in evidence.rows))
    counted = count_states(session, event_id)
    if counted != there:
        yield f"there are {there}, and counted are {counted}"


class _Evidence:
    """All that is recorded of an event, in memory."""

    def __init__(self, session: Session, event_id: int) -> None:
        mine = Submission.event_id == event_id
        fresh = {"populate_existing": True}
        query = select(Submission).where(mine).order_by(Submission.id)
        self.rows: Sequence[Submission] = session.scalars(query, execution_options=fresh).all()
        self.steps: dict[int, list[SubmissionEvent]] = defaultdict(list)
        for step in session.scalars(
            select(SubmissionEvent)
            .join(Submission, Submission.id == SubmissionEvent.submission_id)
            .where(mine)
            .order_by(SubmissionEvent.id)
        ):
            self.steps[step.submission_id].append(step)
        self.attempts: dict[int, list[Attempt]] = defaultdict(list)
        attempts = select(Attempt).join(Submission, Submission.id == Attempt.submission_id)
        ordered = attempts.where(mine).order_by(Attempt.submission_id, Attempt.number)
        for attempt in session.scalars(ordered, execution_options=fresh):
            self.attempts[attempt.submission_id].append(attempt)
        ended = select(Dispatcher.id).where(Dispatcher.ended_at.is_not(None))
        self.ended_dispatchers = frozenset(session.scalars(ended))
        self.n_scores = {table: _count_rows(session, table, event_id) for table in _SCORE_TABLES}
        self.official_scores = _official_scores(session, event_id)
        self.n_folds = n_folds = _count(session, Fold, event_id)
        n_kinds = _count(session, ScoreType, event_id)
        self.n_expected: dict[type[Base], int] = {
            FoldScore: n_folds * n_kinds,
            FoldTime: n_folds,
            BaggedScore: n_kinds,
        }


def _count(session: Session, table: type[Fold] | type[ScoreType], event_id: int) -> int:
    query = select(func.count()).select_from(table).where(table.event_id == event_id)
    return session.execute(query).scalar_one()


def _count_rows(session: Session, table: type[Base], event_id: int) -> dict[int, int]:
    """Count the rows of each submission in a table of scores."""
    owner = table.__table__.c.submission_id
    query = (
        select(owner, func.count())
        .join(Submission, Submission.id == owner)
        .where(Submission.event_id == event_id)
        .group_by(owner)
    )
    return dict(session.execute(query).all())


def _official_scores(session: Session, event_id: int) -> dict[int, float | None]:
    """Read the official score of each submission's bagged predictions."""
    query = (
        select(BaggedScore.submission_id, BaggedScore.valid_bag)
        .join(ScoreType, ScoreType.id == BaggedScore.score_type_id)
        .where(ScoreType.event_id == event_id, ScoreType.position == 0)
    )
    return dict(session.execute(query).all())


def _of_history(row: Submission, steps: Sequence[SubmissionEvent]) -> Iterator[str]:
    standing: State | None = None
    newest = 0
    for step in steps:
        newest += (step.from_state, step.to_state) == _CLAIMED
        if step.attempt != newest:
            yield f"attempt {step.attempt} is recorded while the newest is {newest}"
        if step.from_state != standing:
            yield f"its history goes to {standing or 'nothing'} and on from {step.from_state}"
        if not _is_known(step):
            yield f"its history has a step from {step.from_state} to {step.to_state}"
        standing = step.to_state
    if standing != row.state:
        yield f"it is {row.state}, and its history ends with {standing or 'nothing'}"


def _is_known(step: SubmissionEvent) -> bool:
    """Tell whether there is such a step; some change no state.

    Those are a wish to cancel, a new owner, and that predictions of what is final were deleted.
    """
    source, target = step.from_state, step.to_state
    if source is None:
        return target is State.NEW
    if source is target:
        return source in OWNED or (source in FINAL and step.reason == DELETED)
    return target in TRANSITIONS[source]


def _of_attempts(
    row: Submission, attempts: Sequence[Attempt], steps: Sequence[SubmissionEvent]
) -> Iterator[str]:
    numbers = [attempt.number for attempt in attempts]
    expected = list(range(1, row.attempt + 1))
    if numbers != expected:
        yield f"its attempts are {numbers}, not {expected}"
    claimed = [step.attempt for step in steps if (step.from_state, step.to_state) == _CLAIMED]
    if claimed != expected:
        yield f"its history has claims of the attempts {claimed}, not {expected}"
    for attempt in attempts:
        is_under_way = row.state in OWNED and attempt.number == row.attempt
        has_ended = attempt.finished_at is not None and attempt.outcome is not None
        if has_ended and is_under_way:
            yield f"attempt {attempt.number} has ended while it is {row.state}"
        if not has_ended and not is_under_way:
            yield f"attempt {attempt.number} never ended"


def _of_partial_scores(row: Submission, attempts: Sequence[Attempt], n_folds: int) -> Iterator[str]:
    for attempt in attempts:
        if attempt.partial is None:
            continue
        is_under_way = row.state in OWNED and attempt.number == row.attempt
        if not is_under_way:
            yield f"attempt {attempt.number} has partial scores while it is {row.state}"
        folds = [fold["fold"] for fold in attempt.partial["folds"]]
        if folds != sorted(set(folds) & set(range(n_folds))):
            yield f"attempt {attempt.number} has partial scores of the folds {folds}"


def _of_outcomes(
    row: Submission, attempts: Sequence[Attempt], steps: Sequence[SubmissionEvent]
) -> Iterator[str]:
    n_results = sum(one.outcome is not None and one.outcome not in _AGAIN for one in attempts)
    n_ends = sum(step.to_state.is_final and step.from_state != step.to_state for step in steps)
    if n_results > n_ends:
        yield f"{n_results} attempts have a result, and it came to an end {n_ends} times"
    is_by_hand = not steps or steps[-1].dispatcher_id is None
    if not row.state.is_final or is_by_hand or not attempts:
        return
    allowed = {row.outcome} | (_AGAIN if row.state is State.CANCELED else frozenset())
    if attempts[-1].outcome not in allowed:
        yield f"its last attempt has {attempts[-1].outcome}, and it has {row.outcome}"


def _of_owner(row: Submission, ended_dispatchers: frozenset[int]) -> Iterator[str]:
    if row.state in OWNED:
        if row.dispatcher_id is None:
            yield f"it is {row.state} and nobody owns it"
        elif row.dispatcher_id in ended_dispatchers:
            yield f"its owner, dispatcher {row.dispatcher_id}, has ended"
        return
    if row.dispatcher_id is not None:
        yield f"it is {row.state} and dispatcher {row.dispatcher_id} owns it"
    if row.cancel_requested_at is not None:
        yield f"it is {row.state}, and the wish to cancel it still waits"


def _of_scores(row: Submission, evidence: _Evidence) -> Iterator[str]:
    is_scored = row.state is State.SCORED
    for table, n_expected in evidence.n_expected.items():
        n_rows = evidence.n_scores[table].get(row.id, 0)
        if n_rows != (n_expected if is_scored else 0):
            yield f"it is {row.state} and has {n_rows} rows in {table.__tablename__}"
    if (row.public_order is not None) is not is_scored:
        place = "no place" if is_scored else "a place"
        yield f"it is {row.state} and has {place} on the leaderboard"
    bagged = evidence.official_scores.get(row.id)
    if row.public_score != bagged:
        yield f"its score is {row.public_score}, that of its bagged predictions {bagged}"


def violations_on_disk(session: Session, event_id: int, event: EventConfig) -> list[str]:
    """Find files that contradict what is recorded, once every submission has come to its end.

    Parameters
    ----------
    session : Session
    event_id : int
    event : EventConfig
        Where the folders are.

    Returns
    -------
    list of str
        A sentence for each violation; empty when all holds:

        * no attempt's directory is left, no fold is kept for another attempt, and nothing that was
          staged or moved aside for publishing;
        * every other name in the folders of submissions, predictions and logs is a submission's,
          or that of a log of the event;
        * who is scored has its files, its log, and predictions of every fold, complete, as the
          score step left them.
    """
    query = select(Submission.id, Submission.state).where(Submission.event_id == event_id)
    rows = session.execute(query.order_by(Submission.id))
    states = {directory_name(id_): state for id_, state in rows}
    n_folds = _count(session, Fold, event_id)
    work_dir = event.ramp.work_dir
    left = [*_entries(work_dir / "attempts"), *_entries(work_dir / "kept")]
    found = [f"left behind: {path}" for path in left]
    ramp = event.ramp
    kinds = ("[!.]*.log", "[!.]*.jsonl")  # such as those of its dispatchers, and of what it costs
    own = {path for kind in kinds for path in ramp.logs_dir.glob(kind)}
    for parent in (ramp.submissions_dir, ramp.predictions_dir, ramp.logs_dir):
        foreign = [path for path in _entries(parent) if path.name not in states]
        found += [f"left behind: {path}" for path in foreign if path not in own]
    for name, state in states.items():
        if state is State.SCORED:
            if made_with(event.ramp.predictions_dir / name) is not None:
                found.append(f"not scored: {event.ramp.predictions_dir / name}")
            found += [f"missing: {path}" for path in _missing(event, name, n_folds)]
    return found


def _missing(event: EventConfig, name: str, n_folds: int) -> Iterable[Path]:
    predictions = event.ramp.predictions_dir / name
    expected = [event.ramp.submissions_dir / name, event.ramp.logs_dir / name / "log"]
    for path in expected:
        if not path.exists():
            yield path
    steps = ("test",) if is_test_only(predictions) else ("train", "test")
    for fold in range(n_folds):
        for step in steps:
            directory = predictions / f"fold_{fold}"
            if not any(directory.glob(f"y_pred_{step}.*")):
                yield directory / f"y_pred_{step}"


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []
