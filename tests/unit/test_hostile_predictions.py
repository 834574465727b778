"""A few bytes of predictions make the reader neither wait, nor take memory, nor fail by itself."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ramp_engine.evaluation import arrays, nested

EXPECTED = arrays.Expected(4, 3)


def archive(folder: Path, member: bytes, name: str = "y_pred.npy") -> None:
    method = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(folder / "y_pred_test.npz", "w", method) as file:
        file.writestr(name, member)


def member(shape: str, descr: str = "'<f8'", version: int = 1) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 * version, "little") + text


def test_a_header_of_too_many_levels_is_refused(tmp_path: Path) -> None:
    archive(tmp_path, member("(" + "-" * 9000 + "4, 3)") + bytes(96))
    with pytest.raises(arrays.RefusedPredictionsError, match="no readable"):
        arrays.read(tmp_path, "test", EXPECTED)


def test_a_header_is_not_unpacked_as_a_whole(tmp_path: Path) -> None:
    n_bytes = arrays.MAX_PIECE_BYTES + 1
    head = b"\x93NUMPY\x02\x00" + n_bytes.to_bytes(4, "little")
    archive(tmp_path, head + bytes(n_bytes))
    with pytest.raises(arrays.RefusedPredictionsError, match="header of more than"):
        arrays.read(tmp_path, "test", EXPECTED)


def test_a_long_directory_is_not_read(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("y_pred.npy", b"")
    raw = content.getvalue()
    start, end = raw.index(b"PK\x01\x02"), raw.index(b"PK\x05\x06")
    n_bytes = arrays.MAX_PIECE_BYTES // (end - start) * (end - start) + (end - start)
    entries = raw[start:end] * (n_bytes // (end - start))
    tail = raw[end : end + 12] + n_bytes.to_bytes(4, "little") + raw[end + 16 :]
    (tmp_path / "y_pred_test.npz").write_bytes(raw[:start] + entries + tail)
    with pytest.raises(arrays.RefusedPredictionsError, match="directory or header of more than"):
        arrays.read(tmp_path, "test", EXPECTED)


def test_an_honest_archive_larger_than_a_piece_is_read(tmp_path: Path) -> None:
    n_rows = arrays.MAX_PIECE_BYTES // 8 + 1
    np.savez(tmp_path / "y_pred_test.npz", y_pred=np.arange(n_rows, dtype=float))
    read = arrays.read(tmp_path, "test", arrays.Expected(n_rows, 0))
    assert read[-1] == n_rows - 1


def test_arrays_of_a_few_bytes_may_not_claim_many_together() -> None:
    giant = {"array": ["<U1000000", [1], ["x"]]}
    text = json.dumps({"shape": [300], "items": [giant] * 300})
    with pytest.raises(ValueError, match="bytes together"):
        nested.loads(text)


def test_lists_without_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = nested.dumps(np.array([[], [[]], None], dtype=object))
    n_lists = text.count("[") + text.count("{")
    monkeypatch.setattr(nested, "MAX_CONTAINERS", n_lists)
    assert nested.loads(text).tolist() == [[], [[]], None]
    monkeypatch.setattr(nested, "MAX_CONTAINERS", n_lists - 1)
    with pytest.raises(ValueError, match="lists and dictionaries"):
        nested.loads(text)


def test_keys_made_to_collide_are_refused() -> None:
    pairs = [[((1 << 61) - 1) * number, 0] for number in range(1, 100)]
    with pytest.raises(ValueError, match="one hash"):
        nested.loads(json.dumps({"shape": [1], "items": [{"dict": pairs}]}))
