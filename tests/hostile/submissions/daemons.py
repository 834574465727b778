"""Double-forks 300 daemons with sessions of their own, which ignore SIGTERM."""

import os
import signal
import time

import numpy as np


class Model:
    def fit(self, X, y):
        for _ in range(300):
            if os.fork() == 0:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                if os.fork() == 0:
                    time.sleep(60)
                os._exit(0)
            os.wait()
        time.sleep(60)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
