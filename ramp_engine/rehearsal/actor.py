"""The worker of a rehearsal: a fake one that plays what the plan says of its submission."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramp_engine.rehearsal import plan
from ramp_engine.rehearsal.plan import Deed, Settings
from ramp_engine.testing import FakeWorker, FakeWorkerConfig

__all__ = ["Actor"]


class Actor(FakeWorker):
    """Behave as planned for the submission whose code it was given.

    Parameters
    ----------
    config : mapping
        The dispatcher's, with ``settings`` (the keys of `Settings`) and ``tries_dir``, in which
        the runs of each submission are counted, whichever dispatcher has them.
    submission : str
    """

    config_model = None

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        super().__init__(config, submission)
        self._let_go = threading.Timer(plan.SLOW_CALL_SECONDS, self.released.set)
        self._let_go.daemon = True

    def setup(self) -> None:
        """Learn the part."""
        source = Path(self.config["submissions_dir"], self.submission, "estimator.py")
        number = plan.number_in(source.read_bytes())
        settings = Settings(**self.config["settings"])
        keys = plan.behaviour(settings, number, self._count(number))
        self.behaviour = FakeWorkerConfig.model_validate(keys)
        if plan.deed_of(settings, number) is Deed.SLOW_CALL:
            self._let_go.start()
        super().setup()

    def _count(self, number: int) -> int:
        """Count this run, and give how many there were."""
        with Path(self.config["tries_dir"], str(number)).open("ab") as file:
            file.write(b".")
            return file.tell()

    def teardown(self) -> None:
        """Release what hangs."""
        self._let_go.cancel()
        super().teardown()
