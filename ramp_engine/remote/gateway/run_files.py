"""The files of a run on the dispatcher's machine: what folds leave, as the fold step leaves it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ramp_engine.evaluation.command import write_result
from ramp_engine.fold_outputs import MAX_FILE_BYTES, is_output
from ramp_engine.fold_process import FoldScratch, remove_tree
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.parts import join, split

__all__ = ["RunFiles", "folder_parts"]

_OUTPUT, _CHECKPOINT = "output/", "checkpoint/"
_STATE = "state.txt"


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

    def write_outputs(self, fold: int, files: Mapping[str, memoryview]) -> None:
        """Write the outputs of a fold; they appear as a whole, and ``state.txt`` is the last.

        Files of other names, and those that are too large, are left out.

        Raises
        ------
        OSError
            The disk refuses.
        """
        target = self.scratch.output / f"fold_{fold}"
        staged = self.scratch.output / f".fold_{fold}"
        for folder in (staged, target):
            remove_tree(folder)
        staged.mkdir(parents=True)
        outputs = {
            name.removeprefix(_OUTPUT): content
            for name, content in files.items()
            if name.startswith(_OUTPUT)
            and is_output(name.removeprefix(_OUTPUT))
            and len(content) <= MAX_FILE_BYTES
        }
        for name in sorted(outputs, key=lambda name: name == _STATE):
            (staged / name).write_bytes(outputs[name])
        staged.rename(target)

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
        saved = {
            name.removeprefix(_CHECKPOINT): bytes(content)
            for name, content in files.items()
            if name.startswith(_CHECKPOINT)
        }
        if not saved:
            return False
        names, payload = join(saved)
        path = self._checkpoint(fold)
        path.parent.mkdir(exist_ok=True)
        staged = path.with_suffix(".new")
        staged.write_bytes(json.dumps(names).encode() + b"\n" + payload)
        staged.replace(path)
        return True

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
