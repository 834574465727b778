"""A dispatcher of fake workers as a process of its own: ``python -m ... URL CONFIG``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from ramp_database.session import Database
from ramp_engine.config import load_event
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.testing import canned_scores

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    Dispatcher(Database(sys.argv[1]), load_event(Path(sys.argv[2])), score=canned_scores).run()
