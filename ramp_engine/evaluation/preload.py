"""Import beforehand what submissions are likely to import, as the kit's own submissions do.

It is done in a process that only forks: so libraries whose threads or devices do not survive a
fork, once they are imported, are left to each fold.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

#: Packages that start threads or take hold of devices when they are imported.
_NOT_BEFORE_A_FORK = frozenset(
    {"cupy", "dask", "distributed", "jax", "jaxlib", "keras", "mxnet", "pyspark", "ray"}
    | {"tensorflow", "tensorflow_probability", "tf_keras"}
)


def find_imports(submissions: Path) -> list[str]:
    """Return what the submissions of a kit import at their top level.

    Parameters
    ----------
    submissions : Path
        The folder of the kit; it may be missing.

    Returns
    -------
    list of str
        Names of modules, and of what may be one; sorted.
    """
    files = sorted(submissions.glob("*/*.py"))
    return sorted({name for file in files for name in _imported(file)})


def _imported(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):  # nothing is to be had of it
        return
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")


def preload(names: Iterable[str]) -> None:
    """Import what can be imported of these, and must not wait for a fork.

    Parameters
    ----------
    names : iterable of str
        Of `find_imports`.
    """
    with uncollected():
        for name in names:
            if name.split(".")[0] not in _NOT_BEFORE_A_FORK:
                with contextlib.suppress(Exception):  # it may be no module, or not be there
                    importlib.import_module(name)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage within the block, nor afterwards among what is there at its end.

    What imports make stays, and is soon a great deal: each full look at it takes a tenth of a
    second, finds nothing, and writes to memory that forked processes share. And it is put off until
    a quarter as much as it would look through has come new, which in a process that lives long is a
    lot of garbage beside all the modules.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()


@contextlib.contextmanager
def compiled() -> Iterator[None]:
    """Keep the bytecode of what is imported within the block, where the disk allows.

    Beside the files of a kit or a submission nothing is kept. Our own modules are imported at each
    start, and not every way of installing them compiles them.
    """
    sys.dont_write_bytecode = False
    try:
        yield
    finally:
        sys.dont_write_bytecode = True
