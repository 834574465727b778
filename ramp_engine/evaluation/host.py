"""Run folds on a machine that is reached from elsewhere, such as a cloud instance over SSH.

Every command is a process of its own: a request on stdin, an answer on stdout, both one JSON
object. The request says what is asked for as ``op``; a failure is an answer with ``error``, which
has ``kind``, ``message`` and ``hint``. What is repeated, because a connection broke before the
answer came, does no harm. Nothing runs between commands but the runs themselves, each under a
keeper (`host_keeper`).

=========== ======================================================================================
op          what it does
=========== ======================================================================================
``hello``   says what this machine is and what of ours is on it
``take``    has the caller hold this machine, as ``prepare`` does: others may change nothing then
``prepare`` finds interpreter and confinement, unpacks the bundle
``start``   begins a run of the fold step
``status``  says how a run stands: end, log, folds, notice that the machine is taken away
``pack``    makes one file of folds that are done, or of all that a run has left
``end``     ends a run
``wipe``    removes everything but some bundles, for the next submission
=========== ======================================================================================
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from .host_place import HostError, HostPlace

#: A longer request is refused [bytes].
MAX_REQUEST_BYTES = 1 << 20


def main(root: Path) -> int:
    """Answer one request.

    Parameters
    ----------
    root : Path
        The folder that everything is in.

    Returns
    -------
    int
        0, whatever the answer is.
    """
    os.umask(0o022)
    try:
        answer = _answer(root, sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1))
    except HostError as error:
        answer = {"error": error.to_json()}
    except OSError as error:
        answer = {"error": HostError.of(error).to_json()}
    except Exception as error:  # noqa: BLE001 (the edge of the program)
        trace = traceback.format_exc(limit=-3)
        message = f"a bug in what runs on the instance: {error!r}"
        answer = {"error": HostError("ours", message, trace).to_json()}
    print(json.dumps(answer))
    return 0


def _answer(root: Path, text: bytes) -> dict[str, Any]:
    if len(text) > MAX_REQUEST_BYTES:
        raise HostError("request", f"a request of more than {MAX_REQUEST_BYTES} bytes")
    try:
        request = json.loads(text)
        op = str(request["op"])
    except (ValueError, KeyError, TypeError) as error:
        raise HostError("request", f"no request: {text[:200]!r}") from error
    if op not in _MODULES:
        raise HostError("request", f"nobody knows how to {op!r:.80}")
    place = HostPlace(root)
    holder = request.get("holder")
    operation = getattr(importlib.import_module(f".{_MODULES[op]}", __package__), op)
    if op == "status":  # changes nothing, and waits for nobody
        place.check_holder(holder)
        return dict(operation(place, request))
    place.make()
    with place.locked():
        if op in _TAKING:
            place.take(holder)
        elif op != "hello":
            place.check_holder(holder)
        return dict(operation(place, request))


#: Where an operation is; only that is imported, since one is asked for each turn.
_MODULES = {
    "hello": "host_preparing",
    "take": "host_preparing",
    "prepare": "host_preparing",
    "start": "host_starting",
    "status": "host_runs",
    "pack": "host_runs",
    "end": "host_runs",
    "wipe": "host_wiping",
}
#: After these the machine is the caller's.
_TAKING = ("take", "prepare")
