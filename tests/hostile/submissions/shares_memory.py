"""Maps one file of 300 MB of /dev/shm in three processes, as joblib does with a large array."""

import os
import time

import numpy as np

PATH = '/dev/shm/ramp-test-shared'


class Model:
    def fit(self, X, y):
        shared = np.memmap(PATH, dtype='u1', mode='w+', shape=300 << 20)
        shared[:] = 1
        pipes = [os.pipe() for _ in range(2)]
        for _ in range(2):
            if os.fork() == 0:
                kept = np.memmap(PATH, dtype='u1', mode='r')
                kept.sum()
                os.write(pipes[0][1], b'x')
                os.read(pipes[1][0], 1)
                os._exit(0)
        for _ in range(2):
            os.read(pipes[0][0], 1)
        time.sleep(2)  # some looks of the watch
        os.write(pipes[1][1], b'xx')
        for _ in range(2):
            os.wait()
        os.unlink(PATH)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
