"""What there is of a submission when all is over: in the database and on its disk."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from ramp_database.model import Attempt, BaggedScore, ScoreType, Submission
from ramp_database.submissions import directory_name


@dataclass(frozen=True)
class Aftermath:
    """What there is of a submission when all is over."""

    name: str
    state: str
    outcome: str
    n_attempts: int
    confinement: str  #: the level that its newest attempt has recorded
    error: str  #: what its team is told
    log: bytes  #: what its team may read
    private_log: bytes
    published: Mapping[str, bytes]  #: the files in predictions_dir, by path
    irregular: tuple[str, ...]  #: what is published and neither file nor folder
    scores: Mapping[str, float]  #: the bagged ones by name, ``acc (valid)``; empty unless scored
    train_seconds: float | None

    @property
    def public(self) -> bytes:
        """All that the participant gets to see as text."""
        return self.log + b"\n" + self.error.encode("utf-8", "backslashreplace")


def collect(session: Session, submission_id: int, name: str, event: Path) -> Aftermath:
    """Read what is recorded and published of a submission.

    Parameters
    ----------
    session : Session
    submission_id : int
    name : str
        Of its case.
    event : Path
        The event's folder.
    """
    row = session.get_one(Submission, submission_id)
    folder = directory_name(submission_id)
    published, irregular = _published(event / "predictions" / folder)
    return Aftermath(
        name=name,
        state=str(row.state),
        outcome=str(row.outcome),
        n_attempts=row.attempt,
        confinement=_confinement(session, submission_id),
        error=row.error or "",
        log=_content(event / "logs" / folder / "log"),
        private_log=_content(event / "logs" / folder / "private.log"),
        published=published,
        irregular=irregular,
        scores=_scores(session, submission_id),
        train_seconds=row.train_seconds,
    )


def _published(root: Path) -> tuple[dict[str, bytes], tuple[str, ...]]:
    files = {str(p.relative_to(root)): p for p in sorted(root.rglob("*"))}
    kinds = {name: path.lstat().st_mode for name, path in files.items()}
    regular = {name: files[name].read_bytes() for name in files if stat.S_ISREG(kinds[name])}
    return regular, tuple(
        name for name in files if name not in regular and not stat.S_ISDIR(kinds[name])
    )


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else b""


def _confinement(session: Session, submission_id: int) -> str:
    newest = select(Attempt.confinement).where(Attempt.submission_id == submission_id)
    return session.scalars(newest.order_by(Attempt.number.desc()).limit(1)).one_or_none() or ""


def _scores(session: Session, submission_id: int) -> dict[str, float]:
    rows = session.execute(
        select(ScoreType.name, BaggedScore.valid_bag, BaggedScore.test_bag)
        .join(ScoreType, ScoreType.id == BaggedScore.score_type_id)
        .where(BaggedScore.submission_id == submission_id)
    )
    return {
        f"{name} ({step})": float("nan") if score is None else score
        for name, *scores in rows
        for step, score in zip(("valid", "test"), scores, strict=True)
    }
