"""A fake worker of which the first submission alone gets the planted misbehaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ramp_engine.testing import FakeWorker


class FirstMisbehaves(FakeWorker):
    """Hang or fail as configured for submission 1; be good to the others."""

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        if submission != "submission_000000001":
            config = {key: config[key] for key in config if key not in ("hang_in", "fail_in")}
        super().__init__(config, submission)
