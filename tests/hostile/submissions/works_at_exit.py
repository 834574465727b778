"""Goes on when it should have ended: atexit, __del__, threads that never end."""

import atexit
import os
import threading
import time

from nearest import NearestMean


class Late:
    """Lives as long as the interpreter."""

    def __del__(self):
        print('STOLEN could work at exit: by __del__', flush=True)
        while True:
            time.sleep(60)


LATE = Late()


def late():
    print('STOLEN could work at exit: by atexit', flush=True)
    while True:
        time.sleep(60)


def endless():
    while True:
        time.sleep(0.01)


def attack():
    atexit.register(late)
    threading._register_atexit(late)
    os.register_at_fork(before=lambda: None, after_in_child=lambda: None)
    for _ in range(10):
        threading.Thread(target=endless).start()


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
