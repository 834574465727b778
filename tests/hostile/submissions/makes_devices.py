"""Makes nodes of devices where it may write, to read memory and disks."""

import os
import stat

from nearest import NearestMean


def attack():
    for folder in ('.', '/tmp', '/dev/shm', os.environ.get('HOME', '.')):
        for kind, device in (
            (stat.S_IFCHR, (1, 1)),
            (stat.S_IFBLK, (8, 0)),
            (stat.S_IFCHR, (1, 11)),
        ):
            path = os.path.join(folder, f'node-of-{os.getpid()}')
            try:
                os.mknod(path, kind | 0o600, os.makedev(*device))
            except OSError:
                continue
            print(f'STOLEN could make a device {device} in {folder}', flush=True)
            os.unlink(path)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
