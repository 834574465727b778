"""How submitted code is confined: what an organiser asks for, and what this machine offers.

The confinement itself is `ramp_engine.evaluation.confine`, which runs in the event's environment.
"""

from __future__ import annotations

from ramp_engine.sandbox.probing import NONE, STRONGEST, Refusal, Sandbox, find_sandbox, judge
from ramp_engine.sandbox.settings import Limits, SandboxKeys

__all__ = [
    "NONE",
    "STRONGEST",
    "Limits",
    "Refusal",
    "Sandbox",
    "SandboxKeys",
    "find_sandbox",
    "judge",
]
