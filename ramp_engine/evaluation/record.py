"""The record of a fold: the folder that others read, which the parent alone writes.

The fold writes into another folder, and from there only this is taken: at the release, before the
test data can be read, the predictions of the training data with the times so far; at the end, when
all its processes are gone, the predictions of the test data. What the fold changes after the
release can therefore not carry test data into anything that participants see, scores of
validation included.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, Optional

from .untrusted_files import RefusedFileError, open_regular, read_text, remove, write_text

#: Larger predictions are not taken [bytes].
MAX_BYTES = 2 << 30
#: What is copied in one step, in some milliseconds [bytes].
STEP = 8 << 20

_KINDS = ("npz", "json")


class RefusedReleaseError(Exception):
    """The fold has not left what it must before it may see the test data; the message says what."""


class Record:
    """The record of one fold.

    Parameters
    ----------
    left : Path
        The folder into which the fold writes.
    folder : Path
        The record; made, where it is missing, with its parents. Nothing of a fold that is confined
        may see it: other folds of the same submission could read there of the test data.
    """

    def __init__(self, left: Path, folder: Path) -> None:
        self.left = left
        self._folder = folder
        self._times: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def note(self, name: str, text: str) -> None:
        """Write a small file in place of whatever has its name.

        Raises
        ------
        RefusedFileError
            The record has been damaged, as only code that is not confined can do.
        """
        write_text(self._folder, name, text)

    def drop(self, name: str) -> None:
        """Remove a file that the parent has not written, as only unconfined code can leave."""
        remove(self._folder, name)

    def take_training(self) -> Generator[None, None, None]:
        """Take the predictions of the training data out of the fold's reach, and the times.

        Yields
        ------
        None
            After each step, so that the caller can look after the fold meanwhile.

        Raises
        ------
        RefusedReleaseError
            Something is missing, or is not what it should be.
        OSError
            The disk refuses.
        """
        times = {name: read_seconds(self.left, name) for name in ("train_time", "valid_time")}
        try:
            yield from self._copy("y_pred_train")
        except FileNotFoundError:
            raise RefusedReleaseError("they were not there when the code was done") from None
        except RefusedFileError as error:
            raise RefusedReleaseError(str(error)) from error
        for name, seconds in times.items():
            if seconds is None:
                raise RefusedReleaseError(f"the code has removed or changed {name}")
            self._times[name] = seconds

    def take_test(self) -> bool:
        """Take the predictions of the test data; tell whether there were any.

        The fold is over: nobody has the file open.
        """
        for kind in _KINDS:
            name = f"y_pred_test.{kind}"
            with contextlib.suppress(FileNotFoundError, RefusedFileError):
                with open_regular(self.left, name, MAX_BYTES) as file:
                    self._move(name, file)
                return True
        return False

    def times(self, *, is_released: bool) -> dict[str, Optional[float]]:
        """Return the times of training and validating [s], None where there is none.

        Parameters
        ----------
        is_released : bool
            Whether the fold could see the test data: what it says since then is not asked.
        """
        names = ("train_time", "valid_time")
        if is_released:
            return {name: self._times.get(name) for name in names}
        return {name: read_seconds(self.left, name) for name in names}

    def _copy(self, stem: str) -> Generator[None, None, None]:
        """Copy predictions of whichever kind there is, the kind that would be read first."""
        for kind in _KINDS:
            name = f"{stem}.{kind}"
            try:
                with open_regular(self.left, name, MAX_BYTES) as file:
                    yield from self._copy_file(file, name)
                return
            except FileNotFoundError:
                continue
        raise FileNotFoundError(stem)

    def _copy_file(self, file: BinaryIO, name: str) -> Generator[None, None, None]:
        remove(self._folder, name)
        try:
            with (self._folder / name).open("xb") as copy:
                left = os.fstat(file.fileno()).st_size
                while left > 0:
                    n_bytes = os.sendfile(copy.fileno(), file.fileno(), None, min(left, STEP))
                    left = left - n_bytes if n_bytes else 0
                    yield
        except BaseException:
            remove(self._folder, name)  # half of it is worth nothing
            raise

    def _move(self, name: str, file: BinaryIO) -> None:
        try:
            (self.left / name).replace(self._folder / name)
        except OSError:  # on another disk
            for _ in self._copy_file(file, name):
                pass


def read_seconds(folder: Path, name: str) -> Optional[float]:
    """Return a time that a fold has noted [s]; None when it makes no sense."""
    try:
        seconds = float(read_text(folder, name))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
