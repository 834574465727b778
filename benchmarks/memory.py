"""Measure what memory the engine takes, and how often data and predictions are in memory.

::

    python -m benchmarks.memory [--json FILE] [--full] [--parts engine data predictions]

* engine: a dispatcher with its servers, idle and while 64 submissions run; what it has grown by
  after 200 submissions (--full: 2 000) since a tenth of them. The aim is less than 5 %.
* data: 8 folds that run at once and read all of X. The baseline is 8 processes that each load it;
  the aim is once the size of X, beyond the same folds without data.
* predictions: the peak of the score step. The baseline is ramp-workflow's own functions; the aim is
  all folds' test predictions and one fold more, beyond the same step without predictions.

Memory is proportional (PSS), in MB of 2**20 bytes, but for peaks, which are of one process. To see
that of confined processes takes root, or their user.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.deployed import Deployed, deployed
from benchmarks.large_event import (
    COPY,
    N_CLASSES,
    N_FOLDS,
    READ,
    WAITING,
    large_event,
    peak_of_ramp_workflow,
    peak_of_score_step,
    write_predictions,
)
from benchmarks.process_memory import high_water, pss, settled
from ramp_database.states import State

N_RUNNING, N_READERS = 64, 8
MB = 1 << 20
TINY = 80  #: rows
LARGEST_COPIED = 400 * MB  #: so much is copied as often as there are folds, no more
Rows = dict[str, dict[str, float]]

SLEEPING = """
import time
from sklearn.tree import DecisionTreeClassifier

class Model(DecisionTreeClassifier):
    def fit(self, X, y):
        time.sleep(3600)

def get_estimator():
    return Model()
"""

#: Loads the data for itself and stays, as each of many cold processes would.
LOADING = """
import pickle, sys
import numpy as np
import rampwf
path = sys.argv[1]
X = np.load(path) if path.endswith(".npy") else pickle.load(open(path, "rb"))
X.sum()
print("read", flush=True)
sys.stdin.read()
"""


def engine(is_full: bool) -> Rows:
    """Measure the engine's own processes."""
    rows = {}
    with deployed("iris") as deployment:
        deployment.configure(n_workers=N_RUNNING)
        with deployment.dispatching() as pid:
            deployment.wait_scored(deployment.submit(["first"]))
            rows["idle"] = settled(pid)
            running = deployment.submit([f"runs_{n}" for n in range(N_RUNNING)], SLEEPING)
            rows[f"{N_RUNNING} running"] = settled(
                pid, lambda: deployment.states(running) == {State.TRAINING}
            )
    with deployed("iris") as deployment:
        deployment.configure(n_workers=2)
        n = 2000 if is_full else 200
        with deployment.dispatching() as pid:
            for label, first, end in ("a tenth", 0, n // 10), ("all", n // 10, n):
                ids = deployment.submit([f"s_{number}" for number in range(first, end)])
                deployment.wait_scored(ids)
                rows[f"after {label} of {n}"] = settled(pid)
    before, after = list(rows.values())[-2:]
    rows["growth, %"] = {
        role: 100 * (after[role] / before[role] - 1) for role in before if role != "rest"
    }
    return rows


def data(n_mb: int, *, is_frame: bool = False) -> Rows:
    """Measure folds that hold the data at once."""
    n_columns = 2500
    n_rows = n_mb * MB // 8 // n_columns
    nothing, rows = (holders(n, n_columns, is_frame=is_frame) for n in (TINY, n_rows))
    for name, row in rows.items():
        row["all without data"] = nothing[name]["all"]
        row["x data"] = (row["all"] - row["all without data"]) / n_mb
        if "s a submission" in row:
            row["s without data"] = nothing[name]["s a submission"]
    return rows


def holders(n_rows: int, n_columns: int, *, is_frame: bool) -> Rows:
    """Have data of one size held in every way."""
    loaded = each_loads(n_rows, n_columns, is_frame=is_frame)
    rows: Rows = {"each loads X (baseline)": {"all": loaded}}
    with large_event(n_rows, TINY, n_columns, is_frame=is_frame) as deployment:
        for is_warm, how in (True, "forked from a server"), (False, "started anew"):
            deployment.configure(is_warm=is_warm, n_workers=N_READERS)
            rows[f"{how}, read X"] = {
                "all": readers(deployment, f"{is_warm}", READ),
                "s a submission": seconds_each(deployment, f"{is_warm}"),
            }
        if n_rows * n_columns * 8 <= LARGEST_COPIED:
            deployment.configure(is_warm=True, n_workers=N_READERS)
            rows["forked from a server, copy their rows"] = {
                "all": readers(deployment, "copy", COPY)
            }
    return rows


def readers(deployment: Deployed, label: str, work: str) -> float:
    """Have folds of as many submissions do something with X at once; give the memory of all."""
    with deployment.dispatching() as pid:
        names = [f"reads_{label}_{n}" for n in range(N_READERS)]
        ids = deployment.submit(names, WAITING.format(work=work))
        figures = settled(pid, lambda: n_read(deployment) >= N_READERS)
        deployment.cancel(ids)
        return figures["all"]


def n_read(deployment: Deployed) -> int:
    return len(list(deployment.event.joinpath("work").rglob("has_read")))


def seconds_each(deployment: Deployed, label: str) -> float:
    """Return what a submission that does nothing with the data takes, one at a time [s]."""
    taken = []
    with deployment.dispatching():
        for number in range(4):  # the first one finds everything cold
            started_at = time.monotonic()
            deployment.wait_scored(deployment.submit([f"quick_{label}_{number}"]))
            taken.append(time.monotonic() - started_at)
    return statistics.median(taken[1:])


def each_loads(n_rows: int, n_columns: int, *, is_frame: bool) -> float:
    """Measure as many processes that each load the data for themselves."""
    with saved(n_rows, n_columns, is_frame=is_frame) as path, contextlib.ExitStack() as stack:
        loaded = []
        for _ in range(N_READERS):
            command = [sys.executable, "-c", LOADING, path]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            loaded.append(stack.enter_context(process))  # ends when its input does
        for process in loaded:
            assert process.stdout is not None
            assert process.stdout.readline() == b"read\n"
        return sum(pss(process.pid) for process in loaded)


@contextlib.contextmanager
def saved(n_rows: int, n_columns: int, *, is_frame: bool) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ramp-benchmark-") as folder:
        path = Path(folder, "X.pkl" if is_frame else "X.npy")
        made = np.random.default_rng(0).random((n_rows, n_columns))
        if is_frame:
            path.write_bytes(pickle.dumps(pd.DataFrame(made)))
        else:
            np.save(path, made)
        del made
        yield str(path)


def predictions(n_train: int, n_test: int) -> Rows:
    """Measure the score step, and the dispatcher while it handles such predictions."""
    with large_event(TINY, TINY) as deployment:
        least = peak_of_score_step(deployment, write_predictions(deployment, TINY, TINY))
        usual = dispatcher_after_one(deployment)
    with large_event(n_train, n_test) as deployment:
        folder = write_predictions(deployment, n_train, n_test)
        rows = {
            "ramp-workflow (baseline)": {"peak": peak_of_ramp_workflow(deployment, folder)},
            "score step": {"peak": peak_of_score_step(deployment, folder)},
            "dispatcher": {"peak": dispatcher_after_one(deployment)},
        }
    bound = (N_FOLDS * n_test + n_train + n_test) * N_CLASSES * 8 / MB
    for name, row in rows.items():
        row["without data"] = usual if name == "dispatcher" else least
        row["x bound"] = (row["peak"] - row["without data"]) / bound
    return rows


def dispatcher_after_one(deployment: Deployed) -> float:
    """Return the most memory that a dispatcher has had when it has evaluated a submission [MB]."""
    with deployment.dispatching() as pid:
        deployment.wait_scored(deployment.submit(["one"]))
        return high_water(pid)


def aims(figures: dict[str, Rows]) -> list[dict[str, Any]]:
    """Hold the figures against what they should be."""
    found = []
    for name, rows in figures.items():
        if name == "engine":
            for role, growth in rows["growth, %"].items():
                found.append(aim(f"growth, {role}, %", growth, 5.0))
        elif name.startswith("data"):
            for key, row in rows.items():
                if key.endswith("read X"):
                    found.append(aim(f"{name}, {key}: x data", row["x data"], 1.1))
        else:
            found.append(aim(f"{name}: x bound", rows["score step"]["x bound"], 1.0))
    return found


def aim(name: str, figure: float, at_most: float) -> dict[str, Any]:
    return {"aim": name, "at most": at_most, "figure": figure, "is_met": figure <= at_most}


def print_table(title: str, rows: Rows) -> None:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    print("".join([f"{title:40}", *(f"{name:>{max(len(name) + 2, 10)}}" for name in columns)]))
    for name, row in rows.items():
        cells = [f"{row[key]:.2f}" if key in row else "-" for key in columns]
        widths = [max(len(key) + 2, 10) for key in columns]
        print("".join([f"{name:40}", *(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))]))
    print(flush=True)


def measure(parts: list[str], *, is_full: bool) -> dict[str, Rows]:
    """Take the figures, and print each table when it is there."""
    figures: dict[str, Rows] = {}

    def take(title: str, rows: Rows) -> None:
        figures[title] = rows
        print_table(title, rows)

    if "engine" in parts:
        take("engine", engine(is_full))
    if "data" in parts:
        mb = 1000 if is_full else 200
        take(f"data, array of {mb} MB", data(mb))
        take("data, frame of 200 MB", data(200, is_frame=True))
    if "predictions" in parts:
        n = 1_000_000 if is_full else 100_000
        for n_test in (n, n // 5):
            take(f"predictions, {n} and {n_test} rows", predictions(n, n_test))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    parser.add_argument("--full", action="store_true", help="1 GB, a million rows, 2 000 runs.")
    parts = ["engine", "data", "predictions"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    figures = measure(options.parts, is_full=options.full)
    found = aims(figures)
    for one in found:
        word = "met" if one["is_met"] else "missed"
        print(f"{one['aim']}: {one['figure']:.2f}, at most {one['at most']}: {word}")
    if options.json:
        options.json.write_text(json.dumps({"MB": figures, "aims": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
