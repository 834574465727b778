"""Whether this machine offers a level of confinement to the hostile set."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from tests.hostile.levels import NAMESPACES_OF_A_USER, NONE, Level
from tests.open_environment import open_python
from tests.refusals import filtering

_PROBE = """
import os, sys
import ramp_engine.evaluation
file = os.path.join(ramp_engine.evaluation.__path__[0], "confine.py")
{prelude}
os.execv(sys.executable, [sys.executable, "-I", "-S", file, "probe", *sys.argv[1:]])
"""


def refusal(level: Level) -> str:
    """Tell why the set cannot run at a level here; nothing when it can."""
    if os.geteuid() != 0 and level is NONE:
        return "what is not confined would run as the user who runs the tests"
    if os.geteuid() != 0 and level is NAMESPACES_OF_A_USER:
        return "that is how the level namespaces is tested when root does not run the tests"
    found = _probe(level)
    if found["level"] == level.name:
        return ""
    return "; ".join(entry["reason"] for entry in found["refused"]) or f"it is {found['level']}"


def _probe(level: Level) -> dict[str, Any]:
    is_root = os.geteuid() == 0
    drops = is_root and level.dispatcher_uid is None
    options = [f"--{kind}={level.uid}" for kind in ("uid", "gid")] if drops else []
    done = subprocess.run(
        [
            open_python(),
            "-I",
            "-c",
            _PROBE.format(prelude=filtering(dict(level.refused))),
            *options,
        ],
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        **level.dispatcher(),
    )
    return dict(json.loads(done.stdout))
