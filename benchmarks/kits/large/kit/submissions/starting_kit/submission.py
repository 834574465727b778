import numpy as np


def train(X, y, train_is):
    """Learn nothing."""


def predict(X):
    y_pred = np.random.default_rng(0).random((len(X), 10))
    return y_pred / y_pred.sum(axis=1, keepdims=True)
