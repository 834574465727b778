"""The process that hooks run in: ``python -m ramp_engine.hook_process FD FOLDER``.

FD is a socket, FOLDER the event's. On the socket come requests, a line of JSON each, and each is
answered by one::

    {"load": NAME, "hook_type": TYPE, "config": {...}}      {"calls": [CALL, ...]}
    {"call": CALL, "name": NAME, "told": {...}}             {}

or by ``{"error": MESSAGE, "traceback": TEXT}``. The process ends with the other end of the socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ramp_engine import registry
from ramp_engine.errors import HookError
from ramp_engine.hooks import Failure, Hook, Launch, Scores, Told

__all__ = ["MEMORY_MB", "main"]

#: Memory that the hooks of an event may take together, and each program that they run, in MB.
MEMORY_MB = 1024
#: How much later than the dispatcher they get a core.
_NICENESS = 10
#: The longest error, and the end of its traceback, that is told, in characters.
_MAX_ERROR = 4000

_TOLD: dict[str, type[Told]] = {
    "before_launch": Launch,
    "after_scoring": Scores,
    "on_failure": Failure,
}


def main(fd: int, directory: Path) -> None:
    """Answer until the other end of the socket is closed.

    Parameters
    ----------
    fd : int
        The socket.
    directory : Path
        The event's folder.
    """
    _stand_back()
    os.set_inheritable(fd, False)
    os.chdir(directory)
    hooks: dict[str, Hook] = {}
    with socket.socket(fileno=fd) as link, link.makefile("rwb") as stream:
        for line in stream:
            stream.write(json.dumps(_answer(json.loads(line), hooks)).encode() + b"\n")
            sys.stdout.flush()
            stream.flush()


def _stand_back() -> None:
    """Leave cores and memory to submissions: what hooks lack is theirs to be told."""
    os.nice(_NICENESS)
    size = MEMORY_MB << 20
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    with contextlib.suppress(OSError):  # the first to go where the machine has no memory left
        Path("/proc/self/oom_score_adj").write_text("1000")


def _answer(request: Mapping[str, Any], hooks: dict[str, Hook]) -> dict[str, Any]:
    try:
        if "load" in request:
            hook = _load(request["hook_type"], request["config"])
            hooks[request["load"]] = hook
            return {"calls": sorted(hook.calls())}
        told = _TOLD[request["call"]].from_json(request["told"])
        getattr(hooks[request["name"]], request["call"])(told)
    except HookError as error:
        return {"error": str(error)[:_MAX_ERROR], "traceback": ""}
    except (Exception, SystemExit) as error:  # noqa: BLE001  around a hook
        message = f"{type(error).__name__}: {error}"[:_MAX_ERROR]
        return {"error": message, "traceback": traceback.format_exc()[-_MAX_ERROR:]}
    return {}


def _load(hook_type: str, config: dict[str, Any]) -> Hook:
    """Make a hook.

    Raises
    ------
    HookError
        Its keys are not what its model says. The values are not told: some are secret.
    PluginError
        There is no such hook, or it fails to load.
    """
    kind = registry.hook_class(hook_type)
    if kind.config_model is not None:
        try:
            config = kind.config_model.model_validate(config).model_dump()
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False, include_context=False)
            told = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in details)
            raise HookError(f"its keys are not in order: {'; '.join(told)}") from None
    return kind(config)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
