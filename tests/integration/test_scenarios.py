"""The submissions of the suite for workers do what their scenarios say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rampwf.utils.sanitize import _sanitize_input

from ramp_engine.missing_predictions import missing_predictions
from ramp_engine.testing.scenarios import Scenario, estimator_source

PLAYED = [one for one in Scenario if one not in (Scenario.MOVED, Scenario.INTERRUPTED)]

#: Trains and saves two folds in one process, as ramp-test does.
RUN = """
import os
import numpy as np
from estimator import Constant

for fold in (0, 1):
    X = np.full((20, 2), float(fold))
    predictions = Constant().fit(X, None).predict_proba(X)
    os.mkdir(f"fold_{fold}")
    for step in ("train", "test"):
        np.savez(f"fold_{fold}/y_pred_{step}.npz", y_pred=predictions)
"""


@pytest.mark.parametrize("scenario", PLAYED)
def test_its_code_is_let_in_by_ramp_workflow(scenario: Scenario) -> None:
    _sanitize_input(estimator_source(scenario))


@pytest.mark.parametrize(
    ("scenario", "left"),
    [
        (Scenario.GOOD, ""),
        (Scenario.EXITING, "no predictions of fold 0 (y_pred_train is missing)"),
        (Scenario.PARTIAL, "no predictions of fold 1 (y_pred_train is missing)"),
        (Scenario.TORN, "predictions of fold 0 are cut off (y_pred_train.npz)"),
    ],
)
def test_it_ends_with_exit_code_0_whatever_it_leaves(
    tmp_path: Path, scenario: Scenario, left: str
) -> None:
    (tmp_path / "estimator.py").write_text(estimator_source(scenario))
    subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, check=True, env={"PYTHONPATH": "."})
    told = missing_predictions(tmp_path, range(2))
    assert told.endswith(left) if left else told == ""
