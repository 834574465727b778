"""Takes 30 s of CPU time in processes of half a second that nobody waits for."""

import os
import signal
import time

import numpy as np


class Model:
    def fit(self, X, y):
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(60):
            pid = os.fork()
            if pid == 0:
                while time.process_time() < 0.5:
                    pass
                os._exit(0)
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
