"""The folds of one submission, several at a time.

What is seen of them is what a run of one after another shows. The log has the folds in order: that
of the lowest one which is not done is written at once, those of the others are kept aside. The
first failure, in the order of the folds, is the run's: when a fold fails those above it are ended,
which then have neither verdict nor log nor outputs, and those below it go on.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any

from . import supervise
from .fold_parent import Asides, FoldParent, Work
from .log_pump import Logs
from .stopping import StopSignal

#: How often the ends of fold parents are looked for, besides when they hang up [ms].
_LOOK_MILLISECONDS = 1000
#: So many folds may wait with what they have printed for a slow one before them, or `n_jobs`: each
#: has two files open.
MAX_ASIDE = 64


class SideBySide:
    """A run of several folds at a time, in a process that is a subreaper.

    Parameters
    ----------
    work : callable
        Runs one fold, in a process of its own.
    n_jobs : int
        So many at a time.
    logs : Logs
        Of the run.
    make_asides : callable
        Makes what keeps the logs of one fold.
    drop : callable
        Removes the outputs of the fold of a number.
    stop : StopSignal
        The wish that all end early.
    """

    def __init__(
        self,
        work: Work,
        n_jobs: int,
        logs: Logs,
        make_asides: Callable[[], Asides],
        drop: Callable[[int], None],
        stop: StopSignal,
    ) -> None:
        self._work = work
        self._n_jobs = n_jobs
        self._logs = logs
        self._make_asides = make_asides
        self._drop = drop
        self._stop = stop
        self._is_stopping = False
        self._parents: list[FoldParent] = []  # in the order of the folds
        self._running: list[FoldParent] = []
        self._n_live = 0  # those whose logs are the run's
        self._n_wanted = 0  # up to the first one that has failed

    def run(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Run folds, in the order given, up to the first failure.

        Returns
        -------
        list of dict
            As of `fold.run_folds`. After a wish to stop, of all folds that had begun.

        Raises
        ------
        KitError, FoldParentError
            The first failure is one of ours. What folds after it have completed stays.
        ConfinementError
            The machine refuses another process.
        """
        self._n_wanted = len(numbers)
        try:
            self._begin(numbers)
            while self._running:
                self._tend()
                self._begin(numbers)
        finally:
            supervise.end_descendants()
            for parent in self._parents:
                parent.close()
        return self._results()

    def _begin(self, numbers: Sequence[int]) -> None:
        """Start the next folds, as far as there is room and use for them."""
        while len(self._running) < self._n_jobs and len(self._parents) < self._n_wanted:
            n_aside = len(self._parents) - self._n_live
            if self._stop.is_given or n_aside >= max(MAX_ASIDE, self._n_jobs):
                return
            number = numbers[len(self._parents)]
            parent = FoldParent(number, self._work, self._make_asides())
            self._parents.append(parent)
            self._running.append(parent)
            self._go_live()

    def _tend(self) -> None:
        """Wait until something happens, and see to it."""
        poll = select.poll()
        sources = {number: parent for parent in self._running for number in parent.descriptors}
        for descriptor in sources:
            poll.register(descriptor, select.POLLIN)
        if not self._is_stopping:
            poll.register(self._stop.descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(_LOOK_MILLISECONDS):
            if descriptor in sources:
                sources[descriptor].hear(descriptor)
            else:
                self._stop.hear()
        if self._stop.is_given and not self._is_stopping:
            self._is_stopping = True
            self._ask_to_end(self._running)
        for parent in list(self._running):
            if parent.look():
                self._take_leave(parent)

    def _take_leave(self, parent: FoldParent) -> None:
        """See to what follows from the end of a fold parent, for whatever reason."""
        self._running.remove(parent)
        supervise.end_orphans([other.pid for other in self._running])
        parent.hear_out()
        n_before = self._parents.index(parent)
        if parent.has_failed and not self._is_stopping and n_before < self._n_wanted:
            self._n_wanted = n_before + 1
            self._ask_to_end(self._parents[self._n_wanted :])
        self._go_live()

    def _ask_to_end(self, parents: Sequence[FoldParent]) -> None:
        for parent in parents:
            parent.ask_to_end()

    def _go_live(self) -> None:
        """Have the logs of the lowest fold that is not done written at once."""
        n_begun = min(self._n_wanted, len(self._parents))
        while self._n_live < n_begun and all(
            parent.has_ended for parent in self._parents[: self._n_live]
        ):
            self._parents[self._n_live].go_live(self._logs)
            self._n_live += 1

    def _results(self) -> list[dict[str, Any]]:
        wanted, others = self._parents[: self._n_wanted], self._parents[self._n_wanted :]
        errors = [parent.error for parent in wanted if parent.error is not None]
        for parent in others:
            if not errors or not parent.has_tested:
                self._drop(parent.number)
        if errors:
            raise errors[0]
        return [parent.result for parent in wanted if parent.result is not None]
