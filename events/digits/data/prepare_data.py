"""Make the data of the digits challenge from scikit-learn's copy of the data set.

Private, beside this file in ``data/``: the train and test data of the challenge. Public, in
``../kit/data/``: a train and a test part drawn from the private *training* data alone, for
participants to work with at home.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent


def main():
    digits = load_digits()
    train, test = split(digits.images.astype(np.uint8), digits.target, test_size=597)
    write(HERE / "data", train, test)
    write(HERE.parent / "kit" / "data", *split(*train, test_size=300))


def split(images, labels, test_size):
    X_train, X_test, y_train, y_test = train_test_split(
        images, labels, test_size=test_size, stratify=labels, random_state=7
    )
    return (X_train, y_train), (X_test, y_test)


def write(folder, train, test):
    folder.mkdir(exist_ok=True)
    for name, (images, labels) in {"train": train, "test": test}.items():
        np.savez_compressed(folder / f"{name}.npz", images=images, labels=labels)
    print(f"{folder}: {len(train[1])} for training, {len(test[1])} for testing")


if __name__ == "__main__":
    main()
