from sklearn.ensemble import RandomForestClassifier


def get_estimator():
    return RandomForestClassifier(n_estimators=10, max_leaf_nodes=10, random_state=61)
