"""Leaves a daemon behind, in a session of its own, that ignores every signal that can be."""

import os
import signal
import time

from nearest import NearestMean


def attack():
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN) if number < 32 else None
    for number in range(64):
        try:
            os.close(number)
        except OSError:
            pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 19)
    except OSError:
        pass
    until = time.monotonic() + 600
    while time.monotonic() < until:
        time.sleep(1)
    os._exit(0)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
