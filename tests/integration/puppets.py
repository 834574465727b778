"""A submission whose folds do what a test tells each of them, when it tells them."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

from ramp_engine.local import LocalWorker
from ramp_engine.testing import Scenario, ToyEvent

NAME = "submission_000000001"

#: Takes orders as files in the folder where it works, for which it holds a lock till it ends.
ESTIMATOR = """\
import fcntl
import os
import time
from pathlib import Path

import numpy as np


def obey():
    print(f"{os.path.basename(os.getcwd())} begins", flush=True)
    lock = Path("lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.mkdir("ready")
    scope = {"os": os, "time": time, "Path": Path}
    n_done = 0
    while True:
        order = Path(f"order_{n_done}")
        while not order.exists():
            time.sleep(0.01)
        text = order.read_text()
        if text == "end":
            return
        exec(text, scope)
        os.mkdir(f"done_{n_done}")
        n_done += 1


class Puppet:
    def fit(self, X, y):
        obey()
        return self

    def predict_proba(self, X):
        return np.tile([0.25, 0.75], (len(X), 1))


def get_estimator():
    return Puppet()
"""


class Puppets:
    """A worker whose submission is that, set up and launched.

    Parameters
    ----------
    event : ToyEvent
    root : Path
        For the directories of the run.
    **config
        Further keys of the worker.
    """

    def __init__(self, event: ToyEvent, root: Path, **config: object) -> None:
        self.root = root
        self.worker = LocalWorker(event.config(root, NAME, Scenario.GOOD, **config), NAME)
        (root / "submissions" / NAME / "estimator.py").write_text(ESTIMATOR)
        self._n_orders: dict[int, int] = {}

    def start(self) -> None:
        self.worker.setup()
        self.worker.launch_submission()

    @property
    def scratch(self) -> Path:
        (scratch,) = self.root.glob("scratch-*")
        return scratch

    @property
    def log(self) -> str:
        return (self.scratch / "log").read_text()

    def folder(self, fold: int) -> Path:
        return self.scratch / "work" / f"fold_{fold}"

    def has_begun(self, fold: int) -> bool:
        return (self.folder(fold) / "ready").exists()

    def is_gone(self, fold: int) -> bool:
        """Tell whether a fold that has begun has ended, with all that it had started."""
        lock = os.open(self.folder(fold) / "lock", os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True

    def wait_for(self, fact: Callable[[], bool]) -> None:
        """Wait until something holds, while the run goes on."""
        never = threading.Event()
        while not fact():
            assert self.worker.status == "running", self.log
            never.wait(0.01)

    def wait_until_begun(self, *folds: int) -> None:
        self.wait_for(lambda: all(map(self.has_begun, folds)))

    def tell(self, fold: int, order: str) -> Path:
        """Give an order; return the folder that is there when it has been carried out."""
        number = self._n_orders.get(fold, 0)
        self._n_orders[fold] = number + 1
        draft = self.root / "order"
        draft.write_text(order)
        draft.rename(self.folder(fold) / f"order_{number}")
        return self.folder(fold) / f"done_{number}"

    def see_done(self, fold: int, order: str) -> None:
        self.wait_for(self.tell(fold, order).exists)

    def end(self, *folds: int) -> None:
        """Have folds come to a good end."""
        for fold in folds:
            self.wait_until_begun(fold)
            self.tell(fold, "end")

    def collect(self) -> tuple[int, str]:
        """Wait for the end of the run; return what is collected."""
        while self.worker.status == "running":
            self.worker.wait(1.0)
        return self.worker.collect_results()
