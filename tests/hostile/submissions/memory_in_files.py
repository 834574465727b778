"""Hold 800 MB in files of /dev/shm and in a memfd or in /tmp, which no process maps."""

import os
import tempfile

from nearest import NearestMean


def fill(file: int) -> None:
    for _ in range(400):
        os.write(file, bytes(1 << 20))


class Hoarder(NearestMean):
    def fit(self, X, y):
        with tempfile.TemporaryFile(dir="/dev/shm") as file, tempfile.TemporaryFile() as other:
            fill(file.fileno())
            try:
                fill(os.memfd_create("hoard"))
            except PermissionError:  # refused where it is confined
                fill(other.fileno())
            return super().fit(X, y)


def get_estimator():
    return Hoarder()
