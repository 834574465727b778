"""Predictions that are missing or cut off are told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ramp_engine.missing_predictions import missing_predictions


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    for fold in ("fold_0", "fold_1"):
        (tmp_path / fold).mkdir()
        np.savez(tmp_path / fold / "y_pred_train.npz", y_pred=np.zeros(50))
        (tmp_path / fold / "y_pred_test.json").write_text('[{"box": [1, 2]}]\n')
    return tmp_path


def test_whole_predictions_of_all_folds_are_fine(predictions: Path) -> None:
    assert missing_predictions(predictions, range(2)) == ""


def test_of_a_fold_without_predictions_the_number_is_told(predictions: Path) -> None:
    assert "of fold 2" in missing_predictions(predictions, [0, 2])
    assert "of fold 0" in missing_predictions(predictions / "none", [0])


@pytest.mark.parametrize("name", ["y_pred_train.npz", "y_pred_test.json"])
@pytest.mark.parametrize("n_bytes", [0, 10])
def test_half_a_file_is_none(predictions: Path, name: str, n_bytes: int) -> None:
    os.truncate(predictions / "fold_1" / name, n_bytes)
    told = missing_predictions(predictions, range(2))
    assert told == f"predictions of fold 1 are cut off ({name})"
