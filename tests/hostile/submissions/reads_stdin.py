"""Waits for input, and looks for who else reads or writes there."""

import os
import select
import sys

from nearest import NearestMean


def attack():
    print('stdin:', os.readlink('/proc/self/fd/0'), flush=True)
    ready, _, _ = select.select([0], [], [], 1)
    read = os.read(0, 1000) if ready else b''
    if read:
        print(f'STOLEN input: {read!r}', flush=True)
    try:
        print('read', repr(sys.stdin.read(1)) if ready else 'nothing', flush=True)
        os.write(0, b'echo hello')
    except (OSError, AttributeError) as error:
        print(repr(error), flush=True)
    if os.isatty(0) or os.isatty(1):
        print('STOLEN terminal', flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
