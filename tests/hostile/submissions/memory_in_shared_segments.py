"""Takes 1.5 GB by System V segments that no process has attached."""

import ctypes
import time

from nearest import NearestMean


def attack():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    segments = []
    for _ in range(12):
        segment = libc.shmget(0, 128 << 20, 0o600 | 0o1000)
        if segment < 0:
            print('refused', ctypes.get_errno(), flush=True)
            break
        segments.append(segment)
        address = libc.shmat(segment, None, 0)
        ctypes.memset(address, 1, 128 << 20)
        libc.shmdt(ctypes.c_void_p(address))
    if len(segments) == 12:
        print('STOLEN could take memory: 1.5 GB by shmget', flush=True)
        time.sleep(3)
    for segment in segments:
        libc.shmctl(segment, 0, None)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
