import numpy as np


class Detector:
    def fit(self, X, y):
        self.shift = float(np.mean(X[:, 0]) - np.mean([circles[0][0] for circles in y]))

    def predict(self, X):
        found = np.empty(len(X), dtype=object)
        for index, (x, y, radius) in enumerate(X):
            found[index] = [(0.9, x - self.shift, y, radius), (0.25, 0.1, 0.2, 1)]
        return found
