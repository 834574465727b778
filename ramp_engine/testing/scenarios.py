"""What a submission may do to a worker, and the code of submissions that do it."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["BAD_BYTES", "FAILURE", "HEAD", "TAIL", "Scenario", "estimator_source"]

#: What a failing submission says.
FAILURE = "planted failure"
#: What a submission with a bad log prints: no UTF-8, a zero byte, an escape sequence.
BAD_BYTES = b"bad: \xff\xfe\x00\x1b[31m end of bad\n"
#: First and last words of a large log.
HEAD, TAIL = "head of the log", "tail of the log"


class Scenario(StrEnum):
    """How the run of a submission goes."""

    GOOD = "good"  #: predictions of every fold
    FAILING = "failing"  #: raises an exception that says `FAILURE` while it trains
    EXITING = "exiting"  #: ends its process as if all were well, with ``os._exit(0)``
    PARTIAL = "partial"  #: good in its first fold, and exiting in its second
    TORN = "torn"  #: ends its process as if all were well while its first predictions are written
    HANGING = "hanging"  #: never ends, ignores SIGTERM, and leaves a daemon behind
    BAD_BYTES = "bad_bytes"  #: good, and prints `BAD_BYTES`
    LARGE_LOG = "large_log"  #: good, and prints 20 MB between `HEAD` and `TAIL`
    HALF = "half"  #: good in its first fold, and never ends in its second
    MOVED = "moved"  #: the machine is taken away after a fold; only a worker can play it
    INTERRUPTED = "interrupted"  #: the machine is taken away; only a worker can play it


_ESTIMATOR = """\
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np


class Constant:
    def fit(self, X, y):
{what_it_does}
        return self

    def predict_proba(self, X):
        return np.tile([0.25, 0.75], (len(X), 1))


def get_estimator():
    return Constant()
"""

_NOT_FIRST = "X[0, 0]:  # the rows of the first fold begin with the smallest numbers"
_LINES = {
    Scenario.GOOD: ["print('trained')"],
    Scenario.FAILING: [f"raise ValueError({FAILURE!r})"],
    Scenario.EXITING: ["os._exit(0)"],
    Scenario.PARTIAL: [
        f"if {_NOT_FIRST}",
        "    os._exit(0)",
    ],
    Scenario.TORN: [
        "begun = []",
        "def tear(_, arguments):  # the first to have to do with the file is who makes it",
        "    if 'y_pred_' in str(arguments[:1]) and not begun:",
        "        begun.append(True)",
        "        Path(arguments[0]).write_bytes(b'PK\\x03\\x04 and no more')",
        "        os._exit(0)",
        "sys.addaudithook(tear)",
    ],
    Scenario.HANGING: [
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "if os.fork() == 0:",
        "    os.setsid()",
        "    if os.fork():",
        "        os._exit(0)",
        "print('hanging', flush=True)",
        "while True:",
        "    time.sleep(60)",
    ],
    Scenario.HALF: [
        f"while {_NOT_FIRST}",
        "    time.sleep(60)",
    ],
    Scenario.BAD_BYTES: [f"os.write(1, {BAD_BYTES!r})"],
    Scenario.LARGE_LOG: [
        f"print({HEAD!r}, flush=True)",
        "for _ in range(20):",
        "    os.write(1, b'x' * 999_999 + b'\\n')",
        f"print({TAIL!r}, flush=True)",
    ],
}


def estimator_source(scenario: Scenario) -> str:
    """Give the ``estimator.py`` of a submission to the toy event.

    Raises
    ------
    KeyError
        No code can play the scenario.
    """
    body = "\n".join(" " * 8 + line for line in _LINES[scenario])
    return _ESTIMATOR.format(what_it_does=body)
