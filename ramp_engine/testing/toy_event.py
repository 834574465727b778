"""An event of two classes, a few folds and forty rows, prepared for workers that run real code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramp_engine import evaluation
from ramp_engine.errors import EvaluationError
from ramp_engine.supervised import last_lines, run_logged
from ramp_engine.testing.scenarios import Scenario, estimator_source

__all__ = ["ToyEvent"]

#: It does without scikit-learn, whose import is most of what a short run costs.
_PROBLEM = """\
from pathlib import Path

import numpy as np
import rampwf as rw

problem_title = "Toy"
Predictions = rw.prediction_types.make_multiclass(label_names=[0, 1])
N_FOLDS = 2


class Estimator:
    def __init__(self):
        self.element_names = ["estimator"]

    def train_submission(self, module_path, X, y, train_idx=None):
        rows = slice(None) if train_idx is None else train_idx
        source = Path(module_path, "estimator.py")
        module = rw.utils.import_module_from_source(source, "estimator", sanitize=True)
        return module.get_estimator().fit(X[rows], y[rows])

    def test_submission(self, estimator_fitted, X):
        return estimator_fitted.predict_proba(X)


class Accuracy(rw.score_types.BaseScoreType):
    is_lower_the_better = False
    minimum = 0.0
    maximum = 1.0
    name = "acc"
    precision = 2

    def __call__(self, y_true, y_pred):
        return float(np.mean(y_true.argmax(axis=1) == y_pred.argmax(axis=1)))


workflow = Estimator()
score_types = [Accuracy()]


def get_cv(X, y):
    rows = np.arange(len(y))
    left_out = [rows % N_FOLDS == (k + 1) % N_FOLDS for k in range(N_FOLDS)]
    return [(rows[~part], rows[part]) for part in left_out]


def get_train_data(path="."):
    return np.arange(40.0).reshape(20, 2), np.arange(20) % 2


def get_test_data(path="."):
    return np.arange(40.0).reshape(20, 2), np.arange(20) % 2
"""


@dataclass(frozen=True)
class ToyEvent:
    """The event; make it with `prepare`.

    Parameters
    ----------
    root : Path
        Everything lies in here.
    bundle_dir : Path
        The public half of its bundle.
    """

    root: Path
    bundle_dir: Path
    #: How many folds it has.
    n_folds: int = 2

    @classmethod
    def prepare(cls, root: Path, python: Path | None = None, n_folds: int = 2) -> ToyEvent:
        """Write the kit and run the prepare step.

        Parameters
        ----------
        root : Path
            An empty directory, or one that is not there yet.
        python : Path, optional
            An interpreter that has ramp-workflow; default: the one that runs this.
        n_folds : int
            At least 2.

        Raises
        ------
        EvaluationError
            The step failed.
        """
        starting_kit = root / "kit" / "submissions" / "starting_kit"
        for directory in (starting_kit, root / "data"):
            directory.mkdir(parents=True)
        problem = _PROBLEM.replace("N_FOLDS = 2", f"N_FOLDS = {n_folds}")
        (root / "kit" / "problem.py").write_text(problem)
        (starting_kit / "estimator.py").write_text(estimator_source(Scenario.GOOD))
        command = [str(python or sys.executable), "-I", str(Path(evaluation.__path__[0]))]
        command += ["prepare", "--kit", str(root / "kit"), "--data", str(root / "data")]
        command += ["--bundles-dir", str(root / "bundles"), "--result", str(root / "bundle.json")]
        log = root / "prepare.log"
        if run_logged(command, log, timeout_seconds=120) != 0:
            raise EvaluationError("prepare", last_lines(log))
        bundle = json.loads((root / "bundle.json").read_text())["bundle"]
        return cls(root, root / "bundles" / bundle / "public", n_folds)

    def config(
        self, directory: Path, submission: str, scenario: Scenario, **more: Any
    ) -> dict[str, Any]:
        """Write a submission, and give the config of a worker that is to run it.

        Parameters
        ----------
        directory : Path
            For the directories of the attempt.
        submission : str
        scenario : Scenario
            What the submission does.
        **more
            Further keys, such as ``timeout``.
        """
        files = directory / "submissions" / submission
        files.mkdir(parents=True)
        (files / "estimator.py").write_text(estimator_source(scenario))
        attempt = {f"{name}_dir": str(directory / name) for name in ("predictions", "logs")}
        return {
            **attempt,
            "submissions_dir": str(files.parent),
            "kit_dir": str(self.root / "kit"),
            "data_dir": str(self.root / "data"),
            "bundle_dir": str(self.bundle_dir),
            "work_dir": str(self.root / "work"),
            "n_folds": self.n_folds,
            "n_threads": 1,
            "timeout": 60.0,
            "time_between_collection": 1.0,
            **more,
        }
