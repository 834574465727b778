"""Contributivity: the scored submissions of an event are blended, and their shares recorded.

The blend step (`ramp_engine.evaluation.blend`) works on published predictions, apart from every
dispatcher: nothing is locked in the database while it computes, and what is recorded is written in
one short transaction. It is incremental. Nothing is computed when the same submissions were blended
with the same labels before; else only new submissions are read, and tried against the choices of
the last time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ramp_database import blends, events, submissions
from ramp_database.blends import BagScores, Blend, Scored
from ramp_database.model import Event
from ramp_database.provenance import PARTS, Provenance
from ramp_database.session import Database
from ramp_engine.blend_step import BlendStep, alone, keep_only, run_blend
from ramp_engine.bundles import ensure_bundle
from ramp_engine.config import EventConfig

__all__ = ["Blended", "Blender"]

#: Of what is hashed to tell whether anything changed; it rises when the same would blend otherwise.
_FORMAT = 1


@dataclass(frozen=True)
class Blended:
    """What came of blending an event."""

    n_scored: int  #: scored submissions of the event
    n_blended: int = 0  #: of those, in the newest blend
    is_unchanged: bool = False  #: whether nothing was computed, because nothing had changed
    left_out: Mapping[int, str] = field(default_factory=dict)  #: reasons by numbers
    percents: Mapping[int, float] = field(default_factory=dict)  #: by numbers; of a new blend
    combined: BagScores | None = None  #: official scores of the blend
    foldwise_best: BagScores | None = None  #: the same of the best submission of each fold


class Blender:
    """Blend the scored submissions of an event.

    Parameters
    ----------
    database : Database
    event : EventConfig
        Of a deployed event.
    step : BlendStep
    """

    def __init__(self, database: Database, event: EventConfig, step: BlendStep = run_blend) -> None:
        self._database = database
        self._event = event
        self._step = step

    def blend(self, *, min_improvement: float = 0.0, is_forced: bool = False) -> Blended:
        """Blend what is scored now, and record it in place of what was recorded.

        Parameters
        ----------
        min_improvement : float
            By how much more than nothing an addition must improve the official score.
        is_forced : bool
            Whether to compute everything anew, also when nothing has changed.

        Returns
        -------
        Blended
            Submissions whose predictions are gone, that were scored with another kit, data or
            folds than deployed now, or that moved on while they were blended, are left out.
            Those that are scored meanwhile are for the next time.

        Raises
        ------
        NotFoundError
            There is no such event.
        EvaluationError
            The kit, the labels or the environment are at fault, or somebody else is blending.
        WorkerSetupError
            The event's environment is missing.
        DatabaseError
            The event was deployed anew meanwhile; nothing is recorded.

        Notes
        -----
        Where nothing can be blended, what was recorded stays, as scores do.
        """
        with alone(self._event):
            row, found, before = self._read()
            left_out = self._left_out(row, found)
            chosen = [one for one in found if one.submission_id not in left_out]
            keys = [(one.submission_id, one.attempt) for one in chosen]
            wanted = _inputs_hash(row, keys, min_improvement)
            if before == wanted and not is_forced:
                return Blended(len(found), len(chosen), is_unchanged=True, left_out=left_out)
            if not chosen:
                return Blended(len(found), left_out=left_out)
            return self._blend(row, keys, min_improvement, left_out, is_forced=is_forced)

    def _read(self) -> tuple[Event, list[Scored], str | None]:
        with self._database.session(read_only=True) as session:
            row = events.get_event(session, self._event.ramp.event_name)
            before = blends.read(session, row.id)
            hash_before = before.inputs_hash if before else None
            return row, blends.scored(session, row.id), hash_before

    def _left_out(self, row: Event, found: Sequence[Scored]) -> dict[int, str]:
        deployed = _provenance(row)
        reasons = {one.submission_id: self._obstacle(one, deployed) for one in found}
        return {number: reason for number, reason in reasons.items() if reason}

    def _obstacle(self, one: Scored, deployed: Provenance) -> str:
        """Say why a submission cannot be blended; empty when nothing is in the way."""
        changed = one.provenance.changed_parts(deployed) if one.provenance else ()
        if set(changed) - {"environment"}:
            parts = ", ".join(part for part in changed if part != "environment")
            return (
                f"scored with another {parts} than deployed now: score it anew with "
                f"`ramp retry {one.submission_id}`"
            )
        if not one.has_all_scores:
            return "its official validation score is no finite number in each fold"
        if not any(self._folder(one.submission_id).glob("fold_*")):
            return "its predictions are gone, as after `ramp database delete-predictions`"
        return ""

    def _folder(self, submission_id: int) -> Path:
        return self._event.ramp.predictions_dir / submissions.directory_name(submission_id)

    def _blend(
        self,
        row: Event,
        keys: Sequence[tuple[int, int]],
        min_improvement: float,
        left_out: dict[int, str],
        *,
        is_forced: bool,
    ) -> Blended:
        bundle = ensure_bundle(self._database, self._event, row.bundle_hash)
        keep_only(self._event, None if is_forced else bundle.name)
        candidates = {key: self._folder(key[0]) for key in keys}
        result = self._step(self._event, bundle, candidates, min_improvement)
        by_name = {submissions.directory_name(key[0]): key for key in keys}
        reasons = {by_name[name][0]: reason for name, reason in result["left_out"].items()}
        percents = {by_name[one["name"]]: one["percent"] for one in result["submissions"]}
        found = Blended(len(keys) + len(left_out), left_out=left_out | reasons)
        if not percents:
            return found
        made = Blend(
            bundle.name,
            _inputs_hash(row, list(percents), min_improvement),
            percents,
            BagScores(**result["combined"]),
            BagScores(**result["foldwise_best"]),
        )
        return self._record(row, made, found)

    def _record(self, row: Event, made: Blend, found: Blended) -> Blended:
        with self._database.session() as session:
            moved = blends.store(session, row.id, made)
        gone = dict.fromkeys(moved, "it is evaluated anew, or deleted, since it was blended")
        return replace(
            found,
            n_blended=len(made.percents),
            left_out={**found.left_out, **gone},
            percents={number: percent for (number, _), percent in made.percents.items()},
            combined=made.combined,
            foldwise_best=made.foldwise_best,
        )


def _provenance(row: Event) -> Provenance:
    hashes = {part: getattr(row, f"{part}_hash") for part in PARTS}
    return Provenance.of_bundle(row.bundle_hash, hashes, submission="", engine="")


def _inputs_hash(row: Event, keys: Sequence[tuple[int, int]], min_improvement: float) -> str:
    inputs = [_FORMAT, row.bundle_hash, min_improvement, [list(key) for key in keys]]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
