"""The blend of one fold: chosen on its validation part, applied to the test data."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from .command import write_result
from .failure import PredictionsError
from .greedy import Choices, Measure, Selection
from .running_mean import KitBlend, MeanBlend, is_same, terms_of
from .truth import Truth, read_predictions
from .validation_cache import MAX_HELD_BYTES, Members, ValidationCache

#: Of the choices that are kept; what another release has kept is not read.
FORMAT = 1


@dataclass(frozen=True)
class Candidate:
    """A scored submission."""

    name: str  #: of its folder, by which it is told
    attempt: int  #: the attempt that made the predictions
    folder: Path  #: with ``fold_<i>/``, only read

    @property
    def key(self) -> str:
        """What its predictions are kept under."""
        return f"{self.name}_{self.attempt}"


@dataclass(frozen=True)
class FoldBlend:
    """The blend of one fold."""

    chosen: list[int]  #: submissions, in the order in which they were added; the best one first
    combined: tuple[Any, Any]  #: predictions of the blend: validation part, test data or None
    best: tuple[Any, Any]  #: those of the best single submission
    n_scored: int  #: predictions that were scored to choose


class TestPredictionsError(Exception):
    """The test predictions of a chosen submission cannot be taken.

    Parameters
    ----------
    index : int
        The submission.
    message : str
        Why not.
    """

    def __init__(self, index: int, message: str) -> None:
        self.index = index
        self.message = message
        super().__init__(message)


class FoldBlender:
    """Blend submissions, fold by fold.

    Parameters
    ----------
    truth : Truth
    kept : ValidationCache
        Holds the validation predictions of all candidates.
    candidates : sequence of Candidate
    min_improvement : float
        By how much more an addition must improve the official score.
    """

    def __init__(
        self,
        truth: Truth,
        kept: ValidationCache,
        candidates: Sequence[Candidate],
        min_improvement: float,
    ) -> None:
        self._truth = truth
        self._kept = kept
        self._candidates = candidates
        self._keys = [one.key for one in candidates]
        self._min_improvement = min_improvement
        self._type = truth.problem.Predictions

    def blend(self, number: int) -> FoldBlend:
        """Blend on a fold.

        Raises
        ------
        TestPredictionsError
            The test predictions of a chosen one are gone, or cannot be taken.
        """
        members = self._kept.members(self._keys, number)
        selection, combined, is_mean = self._select(number, members)
        chosen = selection.chosen
        print(f"fold {number}: {[self._candidates[index].name for index in chosen]}")
        best = members[chosen[0]]
        if self._truth.y_test is None:
            return FoldBlend(chosen, (combined, None), (best, None), selection.n_scored)
        read = _TestMembers(self._truth, self._candidates, number)
        test = self._combine(read, chosen, is_mean), read[chosen[0]]
        return FoldBlend(chosen, (combined, test[0]), (best, test[1]), selection.n_scored)

    def _select(self, number: int, members: Members) -> tuple[Selection, Any, bool]:
        """Choose; by a sum that is carried along where that turns out to be the same."""
        path = self._kept.folder / f"choices_fold_{number}.json"
        measure = self._measure(number)
        earlier = _earlier(path)
        mean = self._mean_blend(members)
        if mean is not None:
            selection = Selection(self._keys, mean, members.__getitem__, measure, earlier)
            chosen = selection.run()
            combined = self._type.combine([members[index] for index in chosen])
            if is_same(mean.combined(), combined):
                self._keep(path, selection)
                return selection, combined, True
            earlier = None
        kits = KitBlend(self._type, members)
        selection = Selection(self._keys, kits, members.__getitem__, measure, earlier)
        selection.run()
        self._keep(path, selection)
        return selection, kits.combined(), False

    def _measure(self, number: int) -> Measure:
        score_type = self._truth.problem.score_types[0]
        valid_is = self._truth.folds[number][1]
        ground_truth = self._type(y_true=self._truth.y_train, fold_is=valid_is)

        def score(predictions: Any) -> float:
            return float(score_type.score_function(ground_truth, predictions))

        return Measure(score, score_type.is_lower_the_better, self._min_improvement)

    def _mean_blend(self, members: Members) -> Optional[MeanBlend]:
        terms = terms_of(self._type, members.dtypes, min(members.sizes))
        if terms is None:
            return None
        return MeanBlend(self._type, members, terms, members.is_held)

    def _combine(self, read: _TestMembers, chosen: list[int], is_mean: bool) -> Any:
        terms = terms_of(self._type, read.dtypes(chosen), read.size) if is_mean else None
        if terms is None:
            return self._type.combine([read[index] for index in chosen])
        mean = MeanBlend(self._type, read, terms, is_holding=False)
        for index in chosen:
            mean.add(index)
        return mean.combined()

    def _keep(self, path: Path, selection: Selection) -> None:
        """Keep the choices for the next time; with a least improvement they would be of no use."""
        if not self._min_improvement:
            write_result(path, {"format": FORMAT, **selection.choices.to_json()})


class _TestMembers(Sequence[Any]):
    """The test predictions of submissions in one fold, read when they are asked for.

    Notes
    -----
    Held in memory up to `MAX_HELD_BYTES`.
    """

    def __init__(self, truth: Truth, candidates: Sequence[Candidate], number: int) -> None:
        self._truth = truth
        self._candidates = candidates
        self._number = number
        self._held: dict[int, Any] = {}
        self._n_bytes = 0
        #: Of each array; 0 before one was read.
        self.size = 0

    def __len__(self) -> int:
        return len(self._candidates)

    def __getitem__(self, index: Any) -> Any:
        if index in self._held:
            return self._held[index]
        array = self._read(index)
        made = self._truth.problem.Predictions(y_pred=array)
        self._n_bytes += array.nbytes
        self.size = array.size
        if self._n_bytes <= MAX_HELD_BYTES:
            self._held[index] = made
        return made

    def dtypes(self, indices: Collection[int]) -> set[Any]:
        """Tell the types of the arrays of submissions."""
        return {self[index].y_pred.dtype for index in set(indices)}

    def _read(self, index: int) -> Any:
        folder = self._candidates[index].folder / f"fold_{self._number}"
        try:
            return read_predictions(self._truth, folder, self._number, "test")
        except PredictionsError as error:
            raise TestPredictionsError(index, error.message) from error


def _earlier(path: Path) -> Optional[Choices]:
    """Read the choices of the last time; None where there are none that can be used."""
    try:
        value = json.loads(path.read_text("utf-8"))
        return Choices.from_json(value) if value["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
