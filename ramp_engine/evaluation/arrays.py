"""Predictions as data: how they are written by a fold and read by the score step.

The untrusted side writes, the trusted side reads, and nothing in between is executed: a numeric
array is a ``.npz`` with one member ``y_pred``, an array of objects (lists of detections, say) is
JSON (see `nested`). Reading follows no link, believes no size, and never unpickles.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Optional

import numpy as np

from . import nested
from .untrusted_files import RefusedFileError, open_regular

#: Largest array that is read [bytes, uncompressed].
MAX_ARRAY_BYTES = 8 << 30
#: Largest JSON file that is read [bytes].
MAX_JSON_BYTES = 512 << 20
#: Largest piece that is read of an archive at once [bytes]: its directory, a header, an item.
MAX_PIECE_BYTES = 16 << 20

_MEMBER = "y_pred.npy"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class RefusedPredictionsError(Exception):
    """Predictions cannot be taken; the message tells the participant why."""


@dataclass(frozen=True)
class Expected:
    """What predictions have to look like."""

    n_rows: int  #: one for each instance
    n_columns: Optional[int] = None  #: 0 for a vector, None when the kit does not say

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise RefusedPredictionsError unless a shape is the expected one."""
        if self.n_columns is None:
            fits, wanted = shape[:1] == (self.n_rows,), f"{self.n_rows} rows"
        else:
            full = (self.n_rows, self.n_columns) if self.n_columns else (self.n_rows,)
            fits, wanted = shape == full, f"the shape {full}"
        if not fits:
            raise RefusedPredictionsError(
                f"the predictions must have {wanted}; their shape is {shape}"
            )


def to_array(y_pred: Any) -> Any:
    """Return predictions as numpy would store them.

    Raises
    ------
    RefusedPredictionsError
        They are no array: None, a single value, or rows of different lengths.
    """
    if y_pred is None:
        raise RefusedPredictionsError("the predictions are None")
    try:
        array = np.asarray(y_pred)
    except (ValueError, TypeError) as error:
        raise RefusedPredictionsError(
            f"the predictions ({type(y_pred).__name__}) cannot be made an array: {error}"
        ) from error
    if array.ndim == 0:
        raise RefusedPredictionsError(
            f"the predictions are no array but one object ({type(y_pred).__name__})"
        )
    return array


def write(y_pred: Any, folder: Path, suffix: str) -> None:
    """Write the predictions of a fold.

    Parameters
    ----------
    y_pred : array-like
        One row an instance.
    folder : Path
        The fold's output folder.
    suffix : str
        ``train`` or ``test``.

    Raises
    ------
    RefusedPredictionsError
        They cannot be made an array, or hold objects that are not data.
    """
    array = to_array(y_pred)
    if not array.dtype.hasobject:
        np.savez(folder / f"y_pred_{suffix}.npz", y_pred=array)
        return
    try:
        text = nested.dumps(array)
    except (TypeError, RecursionError) as error:
        raise RefusedPredictionsError(f"the predictions are not data: {error}") from error
    (folder / f"y_pred_{suffix}.json").write_text(text, encoding="utf-8")


def read(folder: Path, suffix: str, expected: Expected) -> Any:
    """Read the predictions of a fold that ran untrusted code.

    Parameters
    ----------
    folder : Path
        The fold's folder.
    suffix : str
        ``train`` or ``test``.
    expected : Expected
        What they must look like; checked before the array is read into memory.

    Returns
    -------
    ndarray
        The predictions.

    Raises
    ------
    RefusedPredictionsError
        They are missing, are not plain data, are too large, or have the wrong shape.
    """
    readers: dict[str, tuple[int, Callable[[BinaryIO, Expected], Any]]] = {
        "npz": (MAX_ARRAY_BYTES, _read_npz),
        "json": (MAX_JSON_BYTES, _read_json),
    }
    for kind, (max_bytes, reader) in readers.items():
        name = f"y_pred_{suffix}.{kind}"
        try:
            with open_regular(folder, name, max_bytes) as file:
                return reader(file, expected)
        except FileNotFoundError:
            continue
        except RefusedFileError as error:
            raise RefusedPredictionsError(f"the predictions cannot be read: {error}") from error
    raise RefusedPredictionsError(f"there are no predictions (y_pred_{suffix}.npz)")


def _read_npz(file: BinaryIO, expected: Expected) -> Any:
    try:
        with zipfile.ZipFile(_InPieces(file)) as archive:
            info = archive.getinfo(_MEMBER)
            if info.compress_type not in _METHODS:
                raise RefusedPredictionsError("the predictions are compressed in an unknown way")
            with archive.open(info) as member:
                _check_header(_InPieces(member), info.file_size, expected)
            with archive.open(info) as member:
                return np.lib.format.read_array(_InPieces(member), allow_pickle=False)
    except (
        zipfile.BadZipFile,
        KeyError,
        EOFError,
        OSError,
        ValueError,
        SyntaxError,
        MemoryError,  # the parser's, of a header with too many levels
        NotImplementedError,
        tokenize.TokenError,  # numpy's, of a header that is no text
        zlib.error,
    ) as error:
        raise RefusedPredictionsError(f"the predictions are no readable .npz: {error}") from error
    except RuntimeError as error:  # an encrypted archive
        raise RefusedPredictionsError(f"the predictions cannot be read: {error}") from error


class _InPieces:
    """A file of which no piece is read that is larger than an honest archive needs.

    How long a directory or a header is, an archive says of itself.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, n_bytes: int = -1) -> bytes:
        wanted = MAX_PIECE_BYTES + 1 if n_bytes < 0 else n_bytes
        piece: bytes = self._file.read(min(wanted, MAX_PIECE_BYTES + 1))
        if len(piece) > MAX_PIECE_BYTES:
            raise ValueError(f"a directory or header of more than {MAX_PIECE_BYTES} bytes")
        return piece


def _check_header(member: Any, n_bytes: int, expected: Expected) -> None:
    """Check shape and size before a byte of the array is read."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise RefusedPredictionsError(f"the predictions are a .npy of version {version}")
    if dtype.hasobject:
        raise RefusedPredictionsError("the predictions hold pickled objects, which are not read")
    expected.check(shape)
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size > MAX_ARRAY_BYTES:
        raise RefusedPredictionsError(f"the predictions have {size} bytes")
    if size != n_bytes - member.tell():
        raise RefusedPredictionsError("the size of the predictions does not fit their shape")


def _read_json(file: BinaryIO, expected: Expected) -> Any:
    try:
        array = nested.loads(file.read().decode("utf-8"))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise RefusedPredictionsError(f"the predictions are no readable JSON: {error}") from error
    expected.check(array.shape)
    return array


def count_nan(array: Any) -> int:
    """Return how many rows of an array hold a NaN."""
    if array.dtype.kind not in "fc":
        return 0
    is_nan = np.isnan(array)
    return int(is_nan.reshape(len(array), -1).any(axis=1).sum())
