"""The log of a run whose folds are elsewhere: as if they had run here, one after another.

That of the lowest fold which is not done is written as it comes, those of the others are kept
aside until their turn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ramp_engine.evaluation.log_pump import Log
from ramp_engine.fold_process import FoldScratch, remove_tree

__all__ = ["RunLog"]


class RunLog:
    """Write ``log`` and ``private_log`` of a run.

    Parameters
    ----------
    scratch : FoldScratch
        The directories of the run.
    numbers : sequence of int
        The folds that are run, in their order.
    max_bytes : int, optional
        Of a longer log head and tail are kept; None: all of it.

    Notes
    -----
    A full disk costs lines of the log, never the run.
    """

    def __init__(
        self, scratch: FoldScratch, numbers: Sequence[int], max_bytes: int | None = None
    ) -> None:
        self._public = Log(scratch.log, max_bytes)
        self._private = Log(scratch.private_log, max_bytes)
        self._asides = scratch.root / "asides"
        self._waiting = list(numbers)  # the first one is live
        self._settled: set[int] = set()
        self._n_taken = dict.fromkeys(numbers, 0)  # bytes of each fold's own log

    def stream(self, fold: int, offset: int, data: bytes | memoryview) -> None:
        """Take a piece of a fold's log; what is known already is left out."""
        if fold not in self._waiting:
            return
        fresh = data[max(0, self._n_taken[fold] - offset) :]
        self._n_taken[fold] += len(fresh)
        self._write(fold, bytes(fresh))

    def note(self, fold: int, text: str) -> None:
        """Say something of a fold, among its own lines."""
        if fold in self._waiting:
            self._write(fold, text.encode())

    def restart(self, fold: int, why: str) -> None:
        """Take a fold's log from its beginning again: it runs another time."""
        self._n_taken[fold] = 0
        self.note(fold, f"fold {fold} is begun again: {why}\n")

    def settle(self, fold: int, public: bytes | memoryview, private: bytes | memoryview) -> None:
        """Take the whole logs of a fold that has ended, and go on to the next one."""
        self.stream(fold, 0, public)
        if fold in self._waiting:
            self._keep(self._aside("private", fold), bytes(private))
        self._settled.add(fold)
        self._advance()

    def drop(self, folds: Collection[int]) -> None:
        """Forget folds of which nothing is to be seen."""
        self._waiting = [fold for fold in self._waiting if fold not in folds]
        self._advance()

    def finish(self) -> None:
        """Write what is kept aside, also of folds that have not ended. May be called again."""
        self._settled.update(self._waiting)
        self._advance()
        self._public.finish()
        self._private.finish()
        remove_tree(self._asides)

    def _advance(self) -> None:
        while self._waiting and self._waiting[0] in self._settled:
            fold = self._waiting[0]
            self._public.write(self._kept(self._aside("public", fold)))
            self._private.write(self._kept(self._aside("private", fold)))
            self._waiting.pop(0)
        if self._waiting:
            self._public.write(self._kept(self._aside("public", self._waiting[0])))

    def _write(self, fold: int, data: bytes) -> None:
        if fold == self._waiting[0]:
            self._public.write(data)
        else:
            self._keep(self._aside("public", fold), data)

    def _aside(self, kind: str, fold: int) -> Path:
        return self._asides / f"{kind}_{fold}"

    def _keep(self, path: Path, data: bytes) -> None:
        if not data:
            return
        try:
            self._asides.mkdir(exist_ok=True)
            with path.open("ab") as file:
                file.write(data)
        except OSError:
            return

    def _kept(self, path: Path) -> bytes:
        """Give what is kept of a fold, and forget it."""
        try:
            data = path.read_bytes()
            path.unlink()
        except OSError:
            return b""
        return data
