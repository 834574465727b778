"""Leaves folders that nobody may enter, and files that nobody may read."""

import os
from pathlib import Path

from nearest import NearestMean


def attack():
    for folder in (Path.cwd(), Path(os.environ.get('HOME', '.'))):
        below = folder / 'closed' / 'within'
        below.mkdir(parents=True)
        (below / 'file').write_text('x')
        (below / 'file').chmod(0)
        below.chmod(0)
        below.parent.chmod(0)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
