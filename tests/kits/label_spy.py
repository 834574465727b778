"""A submission that looks for labels wherever it can: in its memory, and in files.

``needles.json`` beside it names files, and labels changed in a way that only this file undoes: what
is found is not what was given. Says in the log which labels it has found, by number.
"""

import io
import json
import re
from pathlib import Path

import numpy as np

_KEY = np.uint64(0x5A5A_A5A5_5A5A_A5A5)
_CHUNK = 1 << 24


class Regressor:
    def fit(self, X, y):
        where = json.loads(Path(__file__).with_name("needles.json").read_text())
        needles = np.array(where["needles"], dtype=np.uint64)
        found = {"memory": _in_memory(needles), "files": _in_files(where["files"], needles)}
        print(f"found {json.dumps(found)}", flush=True)

    def predict(self, X):
        return np.zeros(len(X))


def _in_memory(needles):
    """Find labels in all that this process may write, be it still in use or not."""
    found = set()
    with io.FileIO("/proc/self/mem") as memory:
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            start, end = (int(number, 16) for number in span.split("-"))
            if rights.startswith("rw"):
                found |= _in_region(memory, start, end, needles)
    return sorted(found)


def _in_region(memory, start, end, needles):
    found = set()
    for place in range(start, end, _CHUNK):
        memory.seek(place)
        content = memory.read(min(_CHUNK, end - place))
        if content.count(0) < len(content):  # much of it was never touched
            found |= _in_bytes(content, needles, "<u8")
    return found


def _in_files(paths, needles):
    """Find labels in files, as numbers of either byte order at any place, or as text."""
    found = set()
    for path in paths:
        try:
            found |= _in_content(Path(path).read_bytes(), needles)
        except OSError:
            continue
    return sorted(found)


def _in_content(content, needles):
    numbers = re.findall(rb"-?\d+\.\d+(?:e-?\d+)?", content)
    found = _in_bytes(np.array(numbers, dtype=float).tobytes(), needles, "<u8")
    for offset in range(8):
        for order in ("<u8", ">u8"):
            found |= _in_bytes(content[offset:], needles, order)
    return found


def _in_bytes(content, needles, order):
    values = np.frombuffer(content[: len(content) // 8 * 8], order).astype(np.uint64) ^ _KEY
    return {number for number, needle in enumerate(needles) if (values == needle).any()}


def changed(labels):
    """Return labels as they stand in ``needles.json``."""
    return (np.asarray(labels, dtype=float).view(np.uint64) ^ _KEY).tolist()
