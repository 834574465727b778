"""An event of any size: its data, submissions that look at them, and its score step alone."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.deployed import ROOT, Deployed, deployed

N_FOLDS, N_CLASSES = 8, 10

#: Says by a file that it has done with X what is asked for, and stays.
WAITING = """
import time
from pathlib import Path

def train(X, y, train_is):
    {work}
    Path("has_read").touch()
    time.sleep(3600)
"""
READ = "X.sum()"
COPY = "X_fold = X.iloc[train_is] if hasattr(X, 'iloc') else X[train_is]"

#: Prints the most memory [kB] of a process that does what its arguments say.
_PEAK = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""

#: What ramp-workflow does with the predictions of all folds, in one process.
RAMPWF = """
import sys
from collections import OrderedDict
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from rampwf.utils.scoring import score_matrix
from rampwf.utils.submission import bag_submissions
from ramp_engine.evaluation.truth import load_truth
truth = load_truth(Path(sys.argv[2]), Path("."))
make, valid, test = truth.problem.Predictions, [], []
for number, (train_is, valid_is) in enumerate(truth.folds):
    y_train = np.load(f"{sys.argv[3]}/fold_{number}/y_pred_train.npz")["y_pred"]
    y_test = np.load(f"{sys.argv[3]}/fold_{number}/y_pred_test.npz")["y_pred"]
    made = OrderedDict(
        train=make(y_pred=y_train, fold_is=train_is), valid=make(y_pred=y_train, fold_is=valid_is),
        test=make(y_pred=y_test),
    )
    labels = OrderedDict(
        train=make(y_true=truth.y_train, fold_is=train_is),
        valid=make(y_true=truth.y_train, fold_is=valid_is), test=make(y_true=truth.y_test),
    )
    score_matrix(truth.problem.score_types, labels, made)
    valid.append(made["valid"])
    test.append(made["test"])
labels = (truth.folds, truth.y_train, truth.y_test)
bag_submissions(
    truth.problem, *labels, valid, test, training_output_path=sys.argv[3], score_type_index=None
)
"""

#: Writes predictions as the fold step leaves them.
_PREDICT = """
import os, sys
import numpy as np
folder, sizes = sys.argv[1], dict(train=int(sys.argv[2]), test=int(sys.argv[3]))
for number in range(int(sys.argv[4])):
    os.makedirs(f"{folder}/fold_{number}")
    for part, n_rows in sizes.items():
        y_pred = np.random.default_rng(number).random((n_rows, int(sys.argv[5])))
        y_pred /= y_pred.sum(axis=1, keepdims=True)
        np.savez(f"{folder}/fold_{number}/y_pred_{part}.npz", y_pred=y_pred)
"""


@contextlib.contextmanager
def large_event(
    n_train: int, n_test: int, n_columns: int = 1, *, is_frame: bool = False
) -> Iterator[Deployed]:
    """Deploy it in a folder that goes with the block."""
    sizes = {"train": n_train, "test": n_test, "columns": n_columns, "frame": is_frame}
    with deployed("large", {"sizes.json": json.dumps(sizes)}) as deployment:
        yield deployment


def write_predictions(deployment: Deployed, n_train: int, n_test: int) -> Path:
    """Write the predictions of a submission; give their folder."""
    folder = deployment.root / "predicted"
    sizes = [n_train, n_test, N_FOLDS, N_CLASSES]
    subprocess.run([sys.executable, "-c", _PREDICT, folder, *map(str, sizes)], check=True)
    return folder


def peak_of_score_step(deployment: Deployed, predictions: Path) -> float:
    """Return the most memory that the score step has [MB]."""
    (bundle,) = (deployment.event / "work" / "bundles").glob("*/public")
    places = {
        "bundle": bundle,
        "labels": bundle.with_name("labels"),
        "data": deployment.event / "data",
        "predictions": predictions,
        "output": deployment.root / "scored",
        "result": deployment.root / "result.json",
    }
    options = [text for name, path in places.items() for text in (f"--{name}", str(path))]
    step = str(ROOT / "ramp_engine" / "evaluation")
    return peak([sys.executable, "-I", step, "score", *options, "--no-compression"])


def peak_of_ramp_workflow(deployment: Deployed, predictions: Path) -> float:
    """Return the most memory that ramp-workflow's own functions have for the same [MB]."""
    (labels,) = (deployment.event / "work" / "bundles").glob("*/labels")
    return peak([sys.executable, "-c", RAMPWF, str(ROOT), str(labels), str(predictions)])


def peak(command: list[str]) -> float:
    """Run a command; return the most resident memory that it had [MB]."""
    meter = [sys.executable, "-I", "-c", _PEAK, *command]
    done = subprocess.run(meter, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.splitlines()[-1]) / 1024
