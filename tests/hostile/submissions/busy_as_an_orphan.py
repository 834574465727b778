"""Takes 30 s of CPU time in processes that are left to whoever takes in orphans."""

import os
import time

import numpy as np


class Model:
    def fit(self, X, y):
        for _ in range(60):
            pid = os.fork()
            if pid == 0:
                if os.fork():
                    os._exit(0)
                while time.process_time() < 0.5:
                    pass
                os._exit(0)
            os.waitpid(pid, 0)
            time.sleep(0.5)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
