import numpy as np
from sklearn.linear_model import Ridge


class Regressor:
    def _features(self, X):
        colours = np.asarray(X["colour"].fillna("none") == "red", dtype=float)
        return np.column_stack([np.asarray(X["size"]), colours])

    def fit(self, X, y):
        self.model = Ridge(random_state=0).fit(self._features(X), y)

    def predict(self, X):
        return self.model.predict(self._features(X)).astype(np.float32)
