"""An honest classifier that is imported in no time, for submissions that do something besides."""

import numpy as np


class NearestMean:
    """Prefers the species whose mean is nearest, by all columns or by some."""

    columns = slice(None)

    def fit(self, X, y):
        X = self._chosen(X)
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == label].mean(axis=0) for label in self.classes_])
        return self

    def predict_proba(self, X):
        squares = np.square(self._chosen(X)[:, None, :] - self.means_).sum(axis=2)
        nearness = np.exp(-squares)
        return nearness / nearness.sum(axis=1, keepdims=True)

    def _chosen(self, X):
        return np.array(X, dtype=float)[:, self.columns]
