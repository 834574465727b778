from sklearn.tree import DecisionTreeClassifier


def get_classifier():
    return DecisionTreeClassifier(max_depth=2, random_state=0)
