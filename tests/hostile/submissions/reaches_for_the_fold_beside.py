"""Reads and changes the files of the fold that runs at the same time."""

import os
import tempfile
import time
from pathlib import Path

from nearest import NearestMean

SECONDS = 2.0


def attack():
    here = Path.cwd()
    own = [here, here.parent / here.name.replace('fold_', 'output_'), Path(tempfile.gettempdir())]
    own += [Path(os.environ.get('HOME', '/'))]
    for folder in own:
        try:
            (folder / 'mark').write_text(here.name)
        except OSError as error:
            print(repr(error), flush=True)
    print(f'BEGUN {time.time()}', flush=True)
    until = time.time() + SECONDS
    told = set()
    while time.time() < until:
        for found in reach(here, own):
            if found not in told:
                told.add(found)
                print(found, flush=True)
        time.sleep(0.02)
    for folder in own:
        try:
            if (folder / 'mark').read_text() != here.name:
                print(f'CHANGED by another fold: {folder}', flush=True)
        except OSError:
            print(f'REMOVED by another fold: {folder}', flush=True)
    print(f'ENDED {time.time()}', flush=True)


def reach(here, own):
    """Tell what of other folds can be read; change what can be changed."""
    work = here.parent
    numbers = [number for number in range(10) if f'fold_{number}' != here.name]
    others = [work / f'{kind}_{number}' for kind in ('fold', 'output', 'home') for number in numbers]
    others += [work.parent / 'output' / f'fold_{number}' for number in numbers]
    for parent in {work, *(folder.parent for folder in own)}:
        try:
            others += [entry for entry in parent.iterdir() if entry not in own]
        except OSError:
            pass
    for folder in others:
        try:
            names = [entry.name for entry in folder.iterdir()]
        except OSError:
            names = []
        else:
            if {'mark', 'state.txt', 'y_pred_train.npz'} & set(names):
                yield f'STOLEN names of another fold: {folder}'
        for name in ('mark', 'state.txt', 'y_pred_train.npz', 'y_pred_test.npz'):
            try:
                if (folder / name).read_bytes() is not None:
                    yield f'STOLEN from another fold: {folder / name}'
            except OSError:
                pass
        try:
            if (folder / 'mark').exists():
                (folder / 'mark').write_text('of another fold')
        except OSError:
            pass


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
