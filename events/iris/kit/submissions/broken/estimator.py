from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression


class PetalAreaClassifier(ClassifierMixin, BaseEstimator):
    """Classifies by the area of a petal, and misspells the name of a column."""

    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(self._area(X), y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(self._area(X))

    def _area(self, X):
        return (X["petal_length"] * X["petal_widht"]).to_frame()


def get_estimator():
    return PetalAreaClassifier()
