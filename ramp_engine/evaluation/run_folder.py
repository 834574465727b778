"""The directories of one run of the fold step, and how they are removed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

#: Sockets in TMPDIR, as multiprocessing makes them, have some 40 bytes of their own, of 108.
MAX_TMPDIR_LENGTH = 64


@dataclass(frozen=True)
class FoldScratch:
    """The directories of one run, removed when it is over."""

    root: Path
    tmp: Path  #: TMPDIR of the run; elsewhere when `root` is too long a path
    log: Path = field(init=False)  #: what the run prints
    private_log: Path = field(init=False)  #: what it prints while it predicts test data
    result: Path = field(init=False)  #: what the fold step says of itself
    home: Path = field(init=False)
    work: Path = field(init=False)  #: where the folds may write
    output: Path = field(init=False)  #: ``fold_<i>/`` as the fold step sees them; no fold sees it

    def __post_init__(self) -> None:
        for name in ("log", "private_log", "home", "work", "output"):
            object.__setattr__(self, name, self.root / name)
        object.__setattr__(self, "result", self.root / "result.json")

    def make(self) -> None:
        """Make the directories; `root` and `tmp` may be there.

        Raises
        ------
        OSError
            The disk refuses.
        """
        for directory in (self.root, self.home, self.work, self.tmp):
            directory.mkdir(exist_ok=True)
        self.private_log.touch(mode=0o600)


def find_tmp(root: Path) -> Path:
    """Give the TMPDIR of a run: in its directory, or where paths are short; that one is made.

    Raises
    ------
    OSError
        The disk refuses.
    """
    tmp = root / "tmp"
    if len(str(tmp)) > MAX_TMPDIR_LENGTH:
        tmp = Path(tempfile.mkdtemp(prefix="ramp-"))
    return tmp


def remove_tree(path: Path) -> None:
    """Remove what somebody else's code has written, as far as it can be; links are not followed.

    However deep it is: the standard library's way recurses, and so does not get far enough.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
    for _ in range(2):
        with contextlib.suppress(RecursionError):
            shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        with contextlib.suppress(OSError):
            _flatten(path)


def _flatten(path: Path) -> None:
    """Give us back the permission to change directories, and put all of them beside each other."""
    path.chmod(0o700)
    flat = Path(tempfile.mkdtemp(dir=path))
    waiting = [path]
    n_moved = 0
    while waiting:
        for directory in _directories(waiting.pop()):
            if directory == flat:
                continue
            with contextlib.suppress(OSError):
                directory.chmod(0o700)
                moved = directory.rename(flat / str(n_moved))
                waiting.append(moved)
                n_moved += 1


def _directories(path: Path) -> list[Path]:
    try:
        return [entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except OSError:
        return []
