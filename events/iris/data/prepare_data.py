"""Make the data of the iris challenge from scikit-learn's copy of the data set.

Private, beside this file in ``data/``: the train and test data of the challenge. Public, in
``../kit/data/``: a train and a test part drawn from the private *training* data alone, for
participants to work with at home.
"""

from pathlib import Path

from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent


def main():
    iris = load_iris(as_frame=True)
    data = iris.frame.rename(columns=lambda name: name.replace(" (cm)", "").replace(" ", "_"))
    data["species"] = iris.target_names[data.pop("target")]
    train, test = split(data, test_size=50)
    write(HERE / "data", train, test)
    write(HERE.parent / "kit" / "data", *split(train, test_size=25))


def split(data, test_size):
    return train_test_split(data, test_size=test_size, stratify=data["species"], random_state=7)


def write(folder, train, test):
    folder.mkdir(exist_ok=True)
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    print(f"{folder}: {len(train)} for training, {len(test)} for testing")


if __name__ == "__main__":
    main()
