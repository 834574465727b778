"""Where a run has written, and where it should not have."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ramp_engine.testing.auditing import AuditEvent, written_paths

__all__ = ["Footprint"]

#: Folders of everybody, or of the system, where what is written is nobody's.
_SHARED = ("/dev", "/proc", "/tmp", "/var/tmp")  # noqa: S108  (they are only watched)
_READ_ONLY = ("kit_dir", "data_dir", "bundle_dir")
_OUTPUTS = ("submissions_dir", "predictions_dir", "logs_dir")

_Trees = dict[Path, tuple[int, int] | None]


class Footprint:
    """What was there before the run of a worker, to be compared with what is there afterwards.

    Parameters
    ----------
    config : mapping
        The worker's.
    submission : str
    own_folders : collection of Path
        Further folders that the worker may write to.
    cwd : Path
        The working directory; nothing is to be written there.
    """

    def __init__(
        self, config: Mapping[str, Any], submission: str, own_folders: Collection[Path], cwd: Path
    ) -> None:
        self._roots = {key: Path(config[key]) for key in _READ_ONLY + _OUTPUTS if key in config}
        self._own = [self._roots[key] / submission for key in _OUTPUTS if key in config]
        self._handed_in = {path for root in self._own[:-2] for path in _files(root)}
        self._places = [Path(config[key]) for key in ("work_dir",) if key in config]
        self._places += own_folders
        self._cwd = cwd
        self._before = self._look()

    def strays(self, events: Iterable[AuditEvent]) -> list[str]:
        """Name what the run has written where it should not, or has left behind.

        Parameters
        ----------
        events : iterable of AuditEvent
            What the worker's thread did meanwhile.

        Returns
        -------
        list of str
            A path each, and what is wrong with it.
        """
        after = self._look()
        found = [f"{path} {self._wrong(path, after)}" for path in sorted(self._changed(after))]
        temporary = [*map(Path, _SHARED), Path(tempfile.gettempdir())]
        for path in sorted(set(written_paths(events))):
            if _is_below(path, [*self._roots.values(), *self._parents, *self._places]):
                continue  # compared before and after, or free
            if not _is_below(path, temporary):
                found.append(f"{path} was written")
            elif path.exists() and not _is_below(path, map(Path, ("/dev", "/proc"))):
                found.append(f"{path} was left behind")
        return [stray for stray in found if "__pycache__" not in stray]

    @property
    def _parents(self) -> list[Path]:
        """The folder of the attempt, where a worker may have folders of its own till teardown."""
        return [self._roots["submissions_dir"].parent] if "submissions_dir" in self._roots else []

    def _look(self) -> _Trees:
        known = [*self._roots.values(), *self._places]
        trees: _Trees = {
            path: None
            for parent in self._parents
            for path in parent.iterdir()
            if not _is_below(path, known)
        }
        for root in (*self._roots.values(), self._cwd):
            trees.update(_files(root))
        return trees

    def _changed(self, after: _Trees) -> Iterator[Path]:
        for path in self._before.keys() | after.keys():
            # What a participant has handed in stays as it is; outputs may lie beside it.
            is_free = _is_below(path, self._own) and path not in self._handed_in
            if not is_free and self._before.get(path, ()) != after.get(path, ()):
                yield path

    def _wrong(self, path: Path, after: _Trees) -> str:
        if path not in after:
            return "was removed"
        return "was changed" if path in self._before else "was left behind"


def _files(root: Path) -> _Trees:
    trees: _Trees = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            status = path.lstat()
            trees[path] = (status.st_size, status.st_mtime_ns)
    return trees


def _is_below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
