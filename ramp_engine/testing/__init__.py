"""What tests of a worker need: a fake one, a clock that tests move, a toy event, invariants.

The suite that every worker passes is `ramp_engine.testing.conformance.WorkerConformance`; it, its
parts and `ramp_engine.testing.fixtures` need pytest, which nothing else here does.
"""

from __future__ import annotations

from ramp_engine.testing.clock import ManualClock
from ramp_engine.testing.fake import FakeWorker, FakeWorkerConfig
from ramp_engine.testing.fake_event import canned_scores, deploy_fake_event
from ramp_engine.testing.invariants import violations, violations_on_disk
from ramp_engine.testing.scenarios import Scenario
from ramp_engine.testing.toy_event import ToyEvent

__all__ = [
    "FakeWorker",
    "FakeWorkerConfig",
    "ManualClock",
    "Scenario",
    "ToyEvent",
    "canned_scores",
    "deploy_fake_event",
    "violations",
    "violations_on_disk",
]
