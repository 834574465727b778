"""Every error that ramp raises on purpose, from its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import ramp_engine.aws.refusals  # noqa: F401  its errors are of the tree as well
from ramp_engine.errors import RampError
from wording import inline, sentence, table

__all__ = ["errors", "to_do", "tree"]

#: Where errors are that others may meet; modules may have further ones for themselves.
_MODULES = ("ramp_database.errors", "ramp_engine.errors", "ramp_engine.aws.refusals")
_TO_DO = re.compile(r"^To do: (.+?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
_DETAIL = """
```{{eval-rst}}
.. autoexception:: {name}
   :show-inheritance:
```
"""


def tree(root: type[RampError] = RampError) -> Iterator[type[RampError]]:
    """List an error and those below it, depth first."""
    yield root
    for error in root.__subclasses__():
        if error.__module__ in _MODULES:
            yield from tree(error)


def to_do(error: type[RampError]) -> str | None:
    """Give what an error's docstring says is to be done; None when it leaves that to others."""
    found = _TO_DO.search(inspect.cleandoc(error.__doc__ or ""))
    return found and sentence(inline(" ".join(found[1].split())))


def errors() -> str:
    """Say of every error when it is raised and what to do, then what it knows."""
    found = list(tree())
    rows = [(_link(error), _when(error), to_do(error) or "") for error in found]
    details = (_DETAIL.format(name=_name(error)) for error in found)
    return table(("error", "when", "what to do"), rows) + "\n## In detail\n" + "".join(details)


def _name(error: type[RampError]) -> str:
    return f"{error.__module__}.{error.__qualname__}"


def _link(error: type[RampError]) -> str:
    return f"{{py:exc}}`{error.__name__} <{_name(error)}>`"


def _when(error: type[RampError]) -> str:
    return inline(inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0].replace("\n", " "))
