import numpy as np


def fit(words, y):
    return float(np.mean(y / np.array([len(word) for word in words])))
