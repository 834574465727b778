"""A copy of ramp-workflow that imports its parts when they are asked for.

What a kit does not need, scikit-learn above all, is most of what its import costs.
"""

from __future__ import annotations

import ast
from pathlib import Path

__all__ = ["import_on_demand"]

#: What stands in the place of a package's imports from its own modules.
_ON_DEMAND = """
def __getattr__(name):
    import importlib

    if name.startswith("__") and name not in _MODULES:
        raise AttributeError(name)
    try:
        module = importlib.import_module(f".{{_MODULES.get(name) or name}}", __name__)
    except ModuleNotFoundError as error:
        raise AttributeError(name) from error
    return getattr(module, name) if _MODULES.get(name) else module


_MODULES = {modules!r}
"""


def import_on_demand(package: Path) -> None:
    """Change a copy of a package, and all packages in it, whose files may be links."""
    for file in package.rglob("__init__.py"):
        _defer(file)


def _defer(package: Path) -> None:
    """Have it import a module of its own when something of it is asked for."""
    rest, modules = [], dict[str, str | None]()
    text = package.read_text(encoding="utf-8")
    if "import *" in text:
        return
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            modules |= {alias.name: node.module for alias in node.names}
        else:
            rest.append(ast.unparse(node))
    package.unlink()  # it may be a link
    package.write_text("\n".join([*rest, _ON_DEMAND.format(modules=modules)]), encoding="utf-8")
