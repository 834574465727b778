"""Hold 800 MB in files of /dev/shm and in a memfd, which no process maps."""

import os
import tempfile

from sklearn.tree import DecisionTreeClassifier


def fill(file: int) -> None:
    for _ in range(400):
        os.write(file, bytes(1 << 20))


class Hoarder(DecisionTreeClassifier):
    def fit(self, X, y):
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
            fill(file.fileno())
            fill(os.memfd_create("hoard"))
            return super().fit(X, y)


def get_estimator():
    return Hoarder()
