from nearest import NearestMean


class PetalAreaClassifier(NearestMean):
    """Classifies by the area of a petal, and misspells the name of a column."""

    def _chosen(self, X):
        return (X["petal_length"] * X["petal_widht"]).to_frame().to_numpy()


def get_estimator():
    return PetalAreaClassifier()
