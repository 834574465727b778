"""Make the data of the iris challenge, the same as the bundled kit does, without scikit-learn.

``iris.csv`` tells of each row which part it is in, and which place of which public part it has.
"""

import csv
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main():
    with (HERE / "iris.csv").open(newline="") as file:
        names, *rows = csv.reader(file)
    public = {"train": {}, "test": {}}
    for *row, _, place in rows:
        if place:
            part, number = place.split()
            public[part][int(number)] = row
    for part in ("train", "test"):
        write(HERE / "data", part, names[:-2], [row[:-2] for row in rows if row[-2] == part])
        places = sorted(public[part].items())
        write(HERE.parent / "kit" / "data", part, names[:-2], [row for _, row in places])


def write(folder, part, names, rows):
    folder.mkdir(exist_ok=True)
    with (folder / f"{part}.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([names, *rows])
    print(f"{folder}: {len(rows)} for {part}ing")


if __name__ == "__main__":
    main()
