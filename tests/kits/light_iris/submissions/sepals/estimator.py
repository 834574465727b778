from nearest import NearestMean


class Sepals(NearestMean):
    columns = slice(0, 2)


def get_estimator():
    return Sepals()
