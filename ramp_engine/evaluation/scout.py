"""Find what a fold imports while it trains, by having the starting kit train in a child.

Libraries import parts of themselves at the first need. Where every fold is a new process, every
fold would pay for that: often more than for the training of a small kit.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Optional

from . import bundle, linux, supervise

if TYPE_CHECKING:
    from .fold import Inputs

#: How long the starting kit may train [s]: libraries import at the beginning.
SECONDS = 2.0
#: How much longer is waited for a child that is not between two steps of Python [s].
_PATIENCE = 1.0


def find_late_imports(
    inputs: Inputs, seconds: float = SECONDS, meanwhile: Callable[[], None] = lambda: None
) -> list[str]:
    """Return the modules that the starting kit imports while it trains and predicts, in order.

    It does so in a child, which nothing of outlives the call; the calling process, which must not
    fit anything, is what it was.

    Parameters
    ----------
    inputs : Inputs
        Of the event. The kit's own modules are not among those found.
    seconds : float
        After so many it is ended, and what was imported until then is returned.
    meanwhile : callable
        What this process has to do itself while the child trains.

    Returns
    -------
    list of str
        Empty when the starting kit fails before it imports anything.
    """
    reader, writer = os.pipe()
    with supervise.ending_what_begins():
        if os.fork() == 0:
            os.close(reader)
            _train(inputs, seconds, writer)
        os.close(writer)
        try:
            meanwhile()
            return _read(reader, seconds + _PATIENCE)
        finally:
            os.close(reader)


def _read(reader: int, seconds: float) -> list[str]:
    said = b""
    ends_at = time.monotonic() + seconds
    while select.select([reader], [], [], max(0.0, ends_at - time.monotonic()))[0]:
        chunk = os.read(reader, 1 << 16)
        if not chunk:
            break
        said += chunk
    try:
        return [str(name) for name in json.loads(said)]
    except ValueError:  # it was ended, or has died
        return []


def _train(inputs: Inputs, seconds: float, writer: int) -> NoReturn:
    """Be the child."""
    known = set(sys.modules)

    def tell(_number: int = 0, _frame: Optional[FrameType] = None) -> NoReturn:
        late = [name for name, module in list(sys.modules.items()) if _is_late(name, module, known)]
        os.write(writer, json.dumps(late).encode())
        os._exit(0)

    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        _print_nothing()
        signal.signal(signal.SIGALRM, tell)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        with contextlib.suppress(BaseException):  # whatever the kit's code raises
            _run_fold(inputs)
        tell()
    finally:
        os._exit(1)


def _is_late(name: str, module: Any, known: set[str]) -> bool:
    """Return whether a module can be imported elsewhere by the name that it has here."""
    is_found = getattr(getattr(module, "__spec__", None), "name", None) == name
    return is_found and name not in known


def _print_nothing() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)


def _run_fold(inputs: Inputs) -> None:
    X, y = inputs.X, inputs.y
    if y is None:
        y = bundle.load(bundle.masked_folder(inputs.bundle, 0), "y", inputs.problem)
    workflow = inputs.problem.workflow
    starting_kit = inputs.bundle / "kit" / "submissions" / "starting_kit"
    model = workflow.train_submission(str(starting_kit), X, y, inputs.folds[0][0])
    workflow.test_submission(model, X)
