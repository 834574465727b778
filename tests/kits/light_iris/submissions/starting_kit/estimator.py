from nearest import NearestMean


class Narrow(NearestMean):
    columns = slice(1, 2)


def get_estimator():
    return Narrow()
