"""Which submissions the blend of one fold consists of: greedy forward selection with replacement.

The choice is that of ``blend_on_fold`` of ramp-workflow, to the last digit: the best submission
first, then, up to `MAX_CHOICES`, the one whose addition gives the best score, as long as that is
better than before; of equals the first. Two things make it cheaper:

* Where submissions are combined by taking the mean, a sum is carried along (`running_mean`), and
  a candidate costs one addition instead of a combination of all that were chosen.
* The choices of the last time are kept. Who lost against a choice loses against it again, as long
  as the choices before are the same: only submissions that are new are then tried against it.
  After a choice that is another, or whose submission is gone, everything is tried, and so always
  with a `min_improvement`, which makes the choice depend on the order of the losers.

References
----------
Caruana et al., Getting the most out of ensemble selection, ICDM 2006.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Protocol

import numpy as np

#: So many submissions, counted as often as they were chosen, are in a blend at most.
MAX_CHOICES = 80


class Blend(Protocol):
    """Submissions that are combined; they are known by their place in a list."""

    def add(self, index: int) -> None:
        """Add a submission for good."""

    def combined(self) -> Any:
        """Return the combined predictions."""

    def combined_with(self, index: int) -> Any:
        """Return the combined predictions if a submission were added."""


@dataclass(frozen=True)
class Choices:
    """What was chosen, and from what."""

    known: frozenset[str]  #: the submissions that were tried
    chosen: tuple[str, ...]  #: those of the blend, in the order in which they were added

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"known": sorted(self.known), "chosen": list(self.chosen)}

    @classmethod
    def from_json(cls, value: Any) -> Choices:
        """Read what `to_json` gave."""
        return cls(frozenset(value["known"]), tuple(value["chosen"]))


@dataclass(frozen=True)
class Measure:
    """What makes one blend better than another."""

    score: Callable[[Any], float]  #: of predictions
    is_lower_the_better: bool
    min_improvement: float = 0.0  #: an addition must be better by more than that

    def is_improved(self, new: float, old: float) -> bool:
        """Tell whether a score is better than another by more than `min_improvement`."""
        if self.is_lower_the_better:
            return new < old - self.min_improvement
        return new > old + self.min_improvement


class Selection:
    """Select the submissions of a blend.

    Parameters
    ----------
    keys : sequence of str
        The submissions in their order, which decides between equals. That of any two must be the
        same as in `earlier`.
    blend : Blend
        Empty; holds the chosen ones afterwards.
    single : callable
        Returns the predictions of one submission, by its index.
    measure : Measure
    earlier : Choices, optional
        Those of an earlier selection with the same labels and no `min_improvement`.
    """

    def __init__(
        self,
        keys: Sequence[str],
        blend: Blend,
        single: Callable[[int], Any],
        measure: Measure,
        earlier: Optional[Choices] = None,
    ) -> None:
        self._keys = keys
        self._index = {key: index for index, key in enumerate(keys)}
        self._blend = blend
        self._single = single
        self._measure = measure
        self._earlier = None if measure.min_improvement else earlier
        #: The chosen ones, in the order in which they were added; the best single one first.
        self.chosen: list[int] = []
        #: How many predictions were scored to choose.
        self.n_scored = 0

    def run(self) -> list[int]:
        """Choose.

        Returns
        -------
        list of int
            The indices of the chosen ones, in the order in which they were added; the best single
            one first.
        """
        self._choose(self._best_single())
        score = self._measure.score(self._blend.combined())
        while len(self.chosen) < MAX_CHOICES:
            index, score = self._next(score)
            if index is None:
                break
            self._choose(index)
        return self.chosen

    @property
    def choices(self) -> Choices:
        """What was chosen, for the next time."""
        return Choices(frozenset(self._keys), tuple(self._keys[index] for index in self.chosen))

    def _choose(self, index: int) -> None:
        place = len(self.chosen)
        earlier = self._earlier.chosen[place : place + 1] if self._earlier else ()
        if earlier != (self._keys[index],):
            self._earlier = None
        self.chosen.append(index)
        self._blend.add(index)

    def _best_single(self) -> int:
        candidates = self._candidates()
        scores = [self._measure.score(self._single(index)) for index in candidates]
        self.n_scored += len(scores)
        best = np.argmin(scores) if self._measure.is_lower_the_better else np.argmax(scores)
        return candidates[int(best)]

    def _next(self, score: float) -> tuple[Optional[int], float]:
        best = None
        for index in self._candidates():
            new = self._measure.score(self._blend.combined_with(index))
            self.n_scored += 1
            if self._measure.is_improved(new, score):
                best, score = index, new
        return best, score

    def _candidates(self) -> Sequence[int]:
        """List who could be chosen now: without those of whom it is known that they lose."""
        earlier, place = self._earlier, len(self.chosen)
        everyone = range(len(self._keys))
        if earlier is None:
            return everyone
        new = [index for index in everyone if self._keys[index] not in earlier.known]
        if place >= len(earlier.chosen):
            return new
        winner = self._index.get(earlier.chosen[place])
        return everyone if winner is None else sorted([*new, winner])
