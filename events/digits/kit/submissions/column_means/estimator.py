from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer


def column_means(images):
    return images.mean(axis=1)


def get_estimator():
    return make_pipeline(FunctionTransformer(column_means), KNeighborsClassifier())
