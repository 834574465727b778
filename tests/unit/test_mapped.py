"""What a bundle holds comes back as it was, and is shared memory until somebody writes to it."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from ramp_engine.evaluation import bundle
from ramp_engine.evaluation.process_tree import ProcessTree

PROBLEM = ModuleType("problem")
N = 100_000


def frame() -> Any:
    kinds = pd.Categorical(["x", "y"] * (N // 2))
    return pd.DataFrame({"a": np.arange(float(N)), "b": np.arange(N), "c": kinds, "d": "text"})


VALUES: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any]]] = {
    "array": (lambda: np.arange(float(N)).reshape(-1, 2), np.testing.assert_array_equal),
    "columns": (lambda: np.asfortranarray(np.ones((N, 3))), np.testing.assert_array_equal),
    "nothing": (lambda: np.zeros((0, 3)), np.testing.assert_array_equal),
    "fields": (
        lambda: np.zeros(N, dtype=[("é", "i8"), ("b", "f4")]),
        np.testing.assert_array_equal,
    ),
    "frame": (frame, pd.testing.assert_frame_equal),
    "list": (lambda: [np.arange(N), np.arange(3), "x", np.ones(N)], np.testing.assert_equal),
    "sparse": (
        lambda: scipy.sparse.random(N, 50, 0.1, format="csr", random_state=0),
        lambda one, other: np.testing.assert_equal((one != other).nnz, 0),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    make, check = VALUES[name]
    bundle.save(make(), tmp_path, "X", PROBLEM)
    check(bundle.load(tmp_path, "X", PROBLEM), make())


def mapped(path: Path) -> dict[str, int]:
    """Sum up what this process maps of a file [kB]."""
    sums: dict[str, int] = {}
    is_it = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *words = line.split()
        if not name.endswith(":"):
            is_it = line.endswith(str(path))
        elif is_it and words[-1] == "kB":
            sums[name] = sums.get(name, 0) + int(words[0])
    return sums


@pytest.mark.parametrize(("name", "file"), [("array", "X.npy"), ("frame", "X.parts")])
def test_large_arrays_are_in_memory_once_for_all_who_read_them(
    name: str, file: str, tmp_path: Path
) -> None:
    make, check = VALUES[name]
    bundle.save(make(), tmp_path, "X", PROBLEM)
    before = (tmp_path / file).read_bytes()
    X, other = (bundle.load(tmp_path, "X", PROBLEM) for _ in range(2))
    sums = mapped(tmp_path / file)
    assert sums["Rss:"] >= 2 * len(before) / 1024  # there at once, not read when it is trained
    assert sums["Anonymous:"] == 0
    if name == "array":
        X[0] = 7
    else:
        X.loc[0, "a"] = 7.0
        X["b"].to_numpy(copy=False)
    check(other, make())
    assert (tmp_path / file).read_bytes() == before
    del X, other
    gc.collect()
    assert mapped(tmp_path / file) == {}


def test_data_that_a_fork_has_not_looked_at_are_told(tmp_path: Path) -> None:
    bundle.save(np.ones(8 * N), tmp_path, "X", PROBLEM)
    X = bundle.load(tmp_path, "X", PROBLEM)
    tree = ProcessTree()
    before = tree.absent_bytes()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        absent = [tree.absent_bytes()]
        absent.append(tree.absent_bytes() if X.sum() else 0)
        os.write(writer, json.dumps(absent).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    absent, seen = json.loads(os.read(reader, 100))
    assert absent - before >= 0.9 * X.nbytes
    assert absent - seen >= 0.9 * X.nbytes
    os.close(reader)
    os.close(writer)


def test_an_array_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    bundle.save(np.arange(N), tmp_path, "X", PROBLEM)
    content = (tmp_path / "X.npy").read_bytes()
    (tmp_path / "X.npy").write_bytes(content[:-1])
    with pytest.raises(ValueError, match="cut off"):
        bundle.load(tmp_path, "X", PROBLEM)
