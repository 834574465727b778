from pathlib import Path

import numpy as np


class Classifier:
    def fit(self, paths, y):
        means = np.array([self.mean(path) for path in paths])
        self.limit = (means[y == "dark"].mean() + means[y == "light"].mean()) / 2
        Path("limit.txt").write_text(str(self.limit))

    def predict_proba(self, paths):
        limit = float(Path("limit.txt").read_text())
        light = np.array([1 / (1 + np.exp(limit - self.mean(path))) for path in paths])
        return np.column_stack([1 - light, light])

    def mean(self, path):
        return np.frombuffer(Path(path).read_bytes(), dtype=np.uint8).mean()
