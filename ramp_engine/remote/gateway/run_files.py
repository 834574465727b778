"""The files of a run on the dispatcher's machine: what folds leave, as the fold step leaves it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ramp_engine.evaluation.command import write_result
from ramp_engine.fold_outputs import MAX_FILE_BYTES, is_output
from ramp_engine.fold_process import FoldScratch, remove_tree
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.parts import PartsError, join, split

__all__ = ["RunFiles", "folder_parts"]

_OUTPUT, _CHECKPOINT = "output/", "checkpoint/"


class RunFiles:
    """Put outputs, results and checkpoints of folds where they belong.

    Parameters
    ----------
    scratch : FoldScratch
        The directories of the run.
    submission : Path
        The participant's files.
    """

    def __init__(self, scratch: FoldScratch, submission: Path) -> None:
        self.scratch = scratch
        self._submission = submission
        self._parts: tuple[list[list[Any]], bytes] | None = None
        self._staged: dict[int, Path | OSError | None] = {}

    def submission_parts(self) -> tuple[list[list[Any]], bytes]:
        """Read the participant's files once for all folds; names, sizes and contents.

        Raises
        ------
        OSError
            They are gone.
        """
        if self._parts is None:
            self._parts = folder_parts(self._submission)
        return self._parts

    def forget_submission(self) -> None:
        """Give back the memory that the participant's files take."""
        self._parts = None

    def stage(self, fold: int, frame: Frame) -> None:
        """Write what a fold has left where nobody looks yet; from any thread.

        What goes wrong is raised by who keeps it: `write_outputs` and `keep_checkpoint`.
        """
        is_done = frame.header.get("how") == "done"
        try:
            files = parts_of(frame)
            write = self._stage_outputs if is_done else self._stage_checkpoint
            self._staged[fold] = write(fold, files)
        except PartsError:
            return
        except OSError as error:
            self._staged[fold] = error

    def unstage(self, fold: int) -> None:
        """Forget what was staged for a fold and not kept."""
        staged = self._staged.pop(fold, None)
        if isinstance(staged, Path):
            remove_tree(staged)

    def _taken(self, fold: int, write: Callable[[], Path | None]) -> Path | None:
        if fold not in self._staged:
            return write()
        staged = self._staged.pop(fold)
        if isinstance(staged, OSError):
            raise staged
        return staged

    def write_outputs(self, fold: int, files: Mapping[str, memoryview]) -> None:
        """Write the outputs of a fold, unless they are staged; they appear as a whole.

        Files of other names, and those that are too large, are left out.

        Raises
        ------
        OSError
            The disk refuses.
        """
        staged = self._taken(fold, partial(self._stage_outputs, fold, files))
        assert staged is not None  # noqa: S101  that of a fold which is done
        target = self.scratch.output / f"fold_{fold}"
        remove_tree(target)
        staged.rename(target)

    def _stage_outputs(self, fold: int, files: Mapping[str, memoryview]) -> Path:
        staged = self.scratch.output / f".fold_{fold}"
        remove_tree(staged)
        self.scratch.output.mkdir(exist_ok=True)  # unless the whole run was removed
        staged.mkdir()
        outputs = {
            name.removeprefix(_OUTPUT): content
            for name, content in files.items()
            if name.startswith(_OUTPUT)
            and is_output(name.removeprefix(_OUTPUT))
            and len(content) <= MAX_FILE_BYTES
        }
        for name, content in outputs.items():
            (staged / name).write_bytes(content)
        return staged

    def drop(self, fold: int) -> None:
        """Remove the outputs of a fold."""
        remove_tree(self.scratch.output / f"fold_{fold}")

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write what the fold step would say of itself.

        Raises
        ------
        OSError
            The disk refuses.
        """
        write_result(self.scratch.result, dict(result))

    def keep_checkpoint(self, fold: int, files: Mapping[str, memoryview]) -> bool:
        """Keep what a fold has saved before it was ended; tell whether there is anything.

        Raises
        ------
        OSError
            The disk refuses.
        """
        staged = self._taken(fold, partial(self._stage_checkpoint, fold, files))
        if staged is None:
            return False
        staged.replace(staged.with_suffix(""))
        return True

    def _stage_checkpoint(self, fold: int, files: Mapping[str, memoryview]) -> Path | None:
        saved = {
            name.removeprefix(_CHECKPOINT): content
            for name, content in files.items()
            if name.startswith(_CHECKPOINT)
        }
        if not saved:
            return None
        path = self._checkpoint(fold)
        path.parent.mkdir(exist_ok=True)
        staged = path.with_suffix(".new")
        names = [[name, len(content)] for name, content in saved.items()]
        with staged.open("wb") as file:
            file.write(json.dumps(names).encode() + b"\n")
            file.writelines(saved.values())
        return staged

    def checkpoint_parts(self, fold: int) -> tuple[list[list[Any]], bytes]:
        """Give what is kept for a fold; names, sizes and contents, or nothing."""
        try:
            head, _, payload = self._checkpoint(fold).read_bytes().partition(b"\n")
        except OSError:
            return [], b""
        return json.loads(head), payload

    def _checkpoint(self, fold: int) -> Path:
        return self.scratch.root / "checkpoints" / f"fold_{fold}"

    def remove(self) -> None:
        """Remove everything, when nobody else will."""
        remove_tree(self.scratch.root)
        remove_tree(self.scratch.tmp)


def parts_of(frame: Frame) -> dict[str, memoryview]:
    """Take the files out of an answer.

    Raises
    ------
    PartsError
        They do not make sense.
    """
    return split(frame.header.get("parts", []), frame.payload)


def folder_parts(folder: Path) -> tuple[list[list[Any]], bytes]:
    """Read all files below a folder; names, sizes and contents.

    Raises
    ------
    OSError
        It cannot be read.
    """
    names: Sequence[str] = sorted(
        os.path.relpath(Path(place, name), folder)
        for place, _, names in os.walk(folder)
        for name in names
        if Path(place, name).is_file() and not Path(place, name).is_symlink()
    )
    return join({name: (folder / name).read_bytes() for name in names})
