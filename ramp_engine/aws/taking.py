"""Taking what has come from an instance into the directories of a run: as data, and no more."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from ramp_engine.aws.answers import Parcel
from ramp_engine.errors import CollectError, ConnectionLostError
from ramp_engine.evaluation.left_outputs import MAX_FILE_BYTES, copy_bytes
from ramp_engine.evaluation.parcel import ParcelError, open_parcel
from ramp_engine.fold_outputs import is_output
from ramp_engine.fold_process import FoldScratch, remove_tree

__all__ = ["take_parcel"]

_OUTPUT = re.compile(r"output/fold_(\d{1,4})/([^/]+)")
_OWN = ("log", "private_log", "result.json")


def take_parcel(
    get: Callable[[Path], str],
    parcel: Parcel,
    target: FoldScratch,
    *,
    folds: Collection[int] | None,
    own: bytes | None,
    max_bytes: int,
) -> None:
    """Fetch a parcel and put its files where they belong.

    Parameters
    ----------
    get : callable
        Fetches it into a file, and gives the hash of what has come.
    parcel : Parcel
    target : FoldScratch
        Folds that are there already are replaced.
    folds : collection of int or None
        The folds that were asked for; None: all.
    own : bytes or None
        What comes before the run's own log; None: neither logs nor result were asked for.
    max_bytes : int
        The most that is taken.

    Raises
    ------
    ConnectionLostError
        Something else has come than was sent; trying again may help.
    CollectError
        There is something in it that nobody asked for, or too much.
    OSError
        The disk refuses.
    """

    def is_wanted(name: str) -> bool:
        match = _OUTPUT.fullmatch(name)
        if match is None:
            return own is not None and name in _OWN
        is_asked_for = folds is None or int(match[1]) in folds
        return is_asked_for and str(int(match[1])) == match[1] and is_output(match[2])

    staged = Path(tempfile.mkdtemp(prefix=".incoming-", dir=target.root))
    try:
        path = staged / "parcel"
        if get(path) != parcel.sha256 or path.stat().st_size != parcel.n_bytes:
            raise ConnectionLostError("a file of results has changed on its way")
        _unpack(path, staged, is_wanted, max_bytes)
        _place(staged, target, own or b"")
    except ParcelError as error:
        raise CollectError(f"the instance's results make no sense: {error}") from error
    finally:
        remove_tree(staged)


def _unpack(path: Path, staged: Path, is_wanted: Callable[[str], bool], max_bytes: int) -> None:
    for name, size, file in open_parcel(path, is_wanted, max_bytes):
        if size > MAX_FILE_BYTES:
            continue
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        with (staged / name).open("xb") as copy:
            copy_bytes(file, copy, size)


def _place(staged: Path, target: FoldScratch, head: bytes) -> None:
    target.output.mkdir(exist_ok=True)
    for fold in sorted((staged / "output").glob("fold_*")):
        shutil.rmtree(target.output / fold.name, ignore_errors=True)
        fold.rename(target.output / fold.name)
    for name, path in ((_OWN[1], target.private_log), (_OWN[2], target.result)):
        if (staged / name).exists():
            (staged / name).replace(path)
    if (staged / _OWN[0]).exists():
        _complete(target.log, head, staged / _OWN[0])


def _complete(log: Path, head: bytes, whole: Path) -> None:
    """Write a log anew, where readers may have it open: what they know of it stays as it is."""
    log.touch()
    with log.open("r+b") as file, whole.open("rb") as content:
        file.write(head)
        shutil.copyfileobj(content, file)
        file.truncate()
