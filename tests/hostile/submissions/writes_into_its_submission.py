"""Changes its own files, for the next fold and for whoever looks at them later."""

import os
from pathlib import Path

from nearest import NearestMean


def attack():
    own = Path(__file__)
    for path in (own, own.parent / 'later.py', own.parent / '__pycache__' / 'estimator.pyc'):
        try:
            path.parent.mkdir(exist_ok=True)
            is_new = not path.exists()
            with path.open('ab'):
                print(f'STOLEN could write {path}', flush=True)
            if is_new:
                path.unlink()
        except OSError as error:
            print(repr(error), flush=True)
    try:
        os.utime(own)
        os.chmod(own, own.stat().st_mode)
        print(f'STOLEN could change times and mode of {own}', flush=True)
    except OSError as error:
        print(repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
