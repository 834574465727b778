"""Data for the kits beside this file, made anew for each test run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIZES = {"train": 40, "test": 24}


def make_data(kit: str, folder: Path, style: str = "") -> Path:
    """Write the data of a kit to ``folder/data`` and return the folder."""
    data = folder / "data"
    data.mkdir(parents=True)
    generator = np.random.default_rng(7)
    for part, size in SIZES.items():
        _MAKERS[kit](data, part, size, generator)
    if kit == "files":
        (data / "style.txt").write_text(style)
    return folder


def _regression(data: Path, part: str, size: int, generator: np.random.Generator) -> None:
    lines = ["size,colour,price"]
    for index, value in enumerate(generator.normal(size=size)):
        colour = ("red", "", "blue")[index % 3]
        lines.append(f"{value},{colour},{3 * value + index % 5}")
    (data / f"{part}.csv").write_text("\n".join(lines) + "\n")


def _combined(data: Path, part: str, size: int, generator: np.random.Generator) -> None:
    classes = generator.integers(3, size=size)
    X = generator.normal(size=(size, 5)) + classes[:, None]
    np.savez(data / f"{part}.npz", X=X, classes=classes, numbers=X[:, :2] ** 2)


def _own_format(data: Path, part: str, size: int, generator: np.random.Generator) -> None:
    labels = np.arange(size) % 2
    rows = generator.normal(size=(size, 2)) + labels[:, None]
    lines = [
        f"x{index},{a},{b},{label}"
        for index, ((a, b), label) in enumerate(zip(rows, labels, strict=True))
    ]
    (data / f"{part}.csv").write_text("\n".join(["id,a,b,label", *lines]) + "\n")


def _labelled(data: Path, part: str, size: int, generator: np.random.Generator) -> None:
    for label in ("north", "south"):
        (data / label).mkdir(exist_ok=True)
        np.savetxt(data / label / f"{part}.txt", generator.normal(size=(size, 3)))


def _files(data: Path, part: str, size: int, generator: np.random.Generator) -> None:
    (data / "images").mkdir(exist_ok=True)
    lines = ["image,label"]
    for index in range(size):
        number = index + (1000 if part == "test" else 0)
        is_light = index % 2
        pixels = generator.integers(100, size=16) + 20 * is_light
        (data / "images" / str(number)).write_bytes(pixels.astype(np.uint8).tobytes())
        lines.append(f"{number},{'light' if is_light else 'dark'}")
    (data / f"{part}.csv").write_text("\n".join(lines) + "\n")


def _detection(data: Path, part: str, size: int, generator: np.random.Generator) -> None:
    np.save(data / f"{part}.npy", generator.uniform(1, 5, size=(size, 3)))


def _bare(data: Path, part: str, size: int, generator: np.random.Generator) -> None:
    words = ["x" * int(length) for length in generator.integers(1, 9, size=size)]
    text = " ".join(f"{word}={2.5 * len(word) + index % 3}" for index, word in enumerate(words))
    (data / f"{part}.txt").write_text(text)


_MAKERS = {
    "regression": _regression,
    "combined": _combined,
    "own_format": _own_format,
    "labelled": _labelled,
    "files": _files,
    "detection": _detection,
    "bare": _bare,
}
