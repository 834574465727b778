"""Verifying scores: the published predictions are scored again, and compared with what is recorded.

Nothing is changed: the score step works in a directory of its own, which goes with it.
"""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from ramp_database import recorded, submissions
from ramp_database.recorded import Record
from ramp_database.results import Results
from ramp_database.session import Database
from ramp_database.states import State
from ramp_engine.comparison import Difference, differences, read_score_files
from ramp_engine.config import EventConfig
from ramp_engine.errors import DatabaseUnavailableError, RampError
from ramp_engine.evaluation.kept import is_test_only
from ramp_engine.fold_outputs import open_untrusted
from ramp_engine.preparation import Bundle, scratch, scratch_dir, trusted_python
from ramp_engine.scoring import PredictionFault, ScoreStep, score_predictions

__all__ = ["Finding", "Verification", "Verifier", "tell"]

#: So many differences are told in a line.
N_TOLD = 3

_DAMAGES = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
_PREDICTIONS = "y_pred_train.npz"
_OTHERS = {
    "kit": "another kit",
    "data": "other data",
    "folds": "other folds",
    "environment": "another environment",
    "bundle": "another data_label or hide_validation_labels",
}
#: The longest header of an array that is looked at, in bytes.
_HEADER_BYTES = 256


class Finding(StrEnum):
    """What came of verifying a submission."""

    VERIFIED = "verified"  #: everything is as it was recorded
    DIFFERENT = "different"  #: something is not
    UNVERIFIABLE = "unverifiable"  #: it cannot be told now


@dataclass(frozen=True)
class Verification:
    """What came of verifying a submission, and why."""

    submission_id: int
    finding: Finding
    reason: str = ""  #: why it cannot be verified, or what differs that is no score
    differences: tuple[Difference, ...] = ()
    n_scores: int = 0  #: of folds and bagged, scored again


def tell(found: Verification) -> str:
    """Tell in a line what came of verifying a submission."""
    title = f"submission {found.submission_id}"
    if found.finding is Finding.VERIFIED:
        note = f" ({found.reason})" if found.reason else ""
        return f"{title}: verified, {found.n_scores} scores equal{note}"
    if found.finding is Finding.UNVERIFIABLE:
        return f"{title}: cannot be verified: {found.reason}"
    n_more = len(found.differences) - N_TOLD
    told = [found.reason] if found.reason else []
    told += [str(one) for one in found.differences[:N_TOLD]]
    told += [f"and {n_more} more"] if n_more > 0 else []
    return f"{title}: differs: {'; '.join(told)}"


class Verifier:
    """Verify submissions of one event.

    Parameters
    ----------
    database : Database
        Only read.
    event : EventConfig
    score : ScoreStep
        What makes scores of predictions.
    """

    def __init__(
        self, database: Database, event: EventConfig, score: ScoreStep = score_predictions
    ) -> None:
        self._database = database
        self._event = event
        self._score = score

    @cached_property
    def _python(self) -> Path:
        return trusted_python(self._event)

    def verify(self, submission_id: int) -> Verification:
        """Score the published predictions of a submission again, and compare.

        Raises
        ------
        NotFoundError
            There is no such submission.
        DatabaseUnavailableError
            The database is away.
        """
        with self._database.session(read_only=True) as session:
            record = recorded.read(session, submission_id)
        found = self._found(record)
        if found.finding is Finding.DIFFERENT and self._has_moved_on(record):
            return _unverifiable(record, "it was evaluated anew meanwhile: verify it again")
        if found.finding is Finding.DIFFERENT and not self._folds(record):
            return _unverifiable(record, "its predictions were deleted meanwhile")
        return found

    def _found(self, record: Record) -> Verification:
        obstacle = self._obstacle(record)
        if obstacle:
            return _unverifiable(record, obstacle)
        try:
            return self._compare(record)
        except DatabaseUnavailableError:
            raise
        except RampError as error:
            return _unverifiable(record, str(error))

    def _has_moved_on(self, record: Record) -> bool:
        with self._database.session(read_only=True) as session:
            now = recorded.standing(session, record.submission_id)
        return now != (record.state, record.attempt)

    def _bundle(self, record: Record) -> Bundle:
        return Bundle.within(self._event.ramp.work_dir / "bundles", record.deployed.bundle)

    def _predictions(self, record: Record) -> Path:
        name = submissions.directory_name(record.submission_id)
        return self._event.ramp.predictions_dir / name

    def _folds(self, record: Record) -> list[Path]:
        return sorted(self._predictions(record).glob("fold_*"))

    def _obstacle(self, record: Record) -> str:
        """Say why a submission cannot be verified; empty when nothing is in the way."""
        if record.state is not State.SCORED:
            return f"it is {record.state}, and only scored submissions are verified"
        changed = record.provenance.changed_parts(record.deployed) if record.provenance else ()
        if changed:
            return _other_inputs(record.submission_id, changed)
        if not self._bundle(record).exists:
            return "the event's bundle is not on this machine: a dispatcher makes it when it starts"
        return self._gap(record)

    def _gap(self, record: Record) -> str:
        """Say why there are no predictions to score; empty when there are."""
        folds = self._folds(record)
        if not folds:
            return _gone(record)
        if is_test_only(self._predictions(record)):
            return (
                "of its predictions only those of the test data were kept "
                "(evaluation: {predictions: test-only})"
            )
        if any(_holds_objects(fold / _PREDICTIONS) for fold in folds):
            return (
                "this kit's own format: its predictions are Python objects, stored as pickles, "
                "which are never read back"
            )
        return ""

    def _compare(self, record: Record) -> Verification:
        bundle, published = self._bundle(record), self._predictions(record)
        with scratch("score", scratch_dir(self._event)) as directory:
            output = directory / "scored"
            report = self._score(
                self._event, self._python, bundle, published, output, directory / "score.log"
            )
            if isinstance(report, PredictionFault):
                return _not_scorable(record, bundle, report)
            names = [kind.name for kind in record.score_types]
            in_files = differences(
                read_score_files(published, names), read_score_files(output, names)
            )
        return _compared(record, report, in_files)


def _compared(record: Record, results: Results, in_files: Collection[Difference]) -> Verification:
    now = recorded.figures(record.score_types, results)
    found = (*_changed_files(record), *differences(record.figures, now), *in_files)
    return Verification(
        record.submission_id,
        Finding.DIFFERENT if found else Finding.VERIFIED,
        "" if record.provenance else "the attempt recorded no hashes",
        found,
        recorded.n_scores(results),
    )


def _changed_files(record: Record) -> tuple[Difference, ...]:
    """Compare the submission's files with those that the attempt was made with."""
    known = record.provenance.submission if record.provenance else None
    if known is None:
        return ()
    what = "hash of its files"
    return differences({what: known}, {what: record.deployed.submission})


def _not_scorable(record: Record, bundle: Bundle, fault: PredictionFault) -> Verification:
    if _has_own_format(bundle):
        return _unverifiable(
            record,
            "this kit's own format: it defines save_y_pred, and what that wrote cannot be scored "
            f"again ({fault.message})",
        )
    reason = f"its predictions cannot be scored any more: {fault.message}"
    return Verification(record.submission_id, Finding.DIFFERENT, reason)


def _unverifiable(record: Record, reason: str) -> Verification:
    return Verification(record.submission_id, Finding.UNVERIFIABLE, reason)


def _other_inputs(submission_id: int, changed: Collection[str]) -> str:
    return (
        f"scored with {' and '.join(_OTHERS[part] for part in changed)} than deployed now: "
        f"deploy that again, or score it anew with `ramp retry {submission_id}`"
    )


def _gone(record: Record) -> str:
    at = record.predictions_deleted_at
    if at is None:
        return "its predictions are gone, and not by `ramp database delete-predictions`"
    return f"its predictions were deleted on {at.astimezone(UTC):%Y-%m-%d at %H:%M:%S} UTC"


def _has_own_format(bundle: Bundle) -> bool:
    """Tell whether the kit stores predictions in its own way; its code is not run to find out."""
    problem = bundle.labels / "kit" / "problem.py"
    try:
        return re.search(rb"\bsave_y_pred\b", problem.read_bytes()) is not None
    except OSError:
        return False


def _holds_objects(path: Path) -> bool:
    """Tell whether an array of predictions is one of pickled objects, which is never unpickled.

    Of a file that is no such archive the score step says more.
    """
    try:
        with (
            open_untrusted(path) as file,
            zipfile.ZipFile(file) as archive,
            archive.open("y_pred.npy") as member,
        ):
            return re.search(rb"'descr': '\|O'", member.read(_HEADER_BYTES)) is not None
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, *_DAMAGES):
        return False
