"""A dispatcher of a rehearsal, as a process: ``python -m ramp_engine.rehearsal.dispatch FOLDER``.

It is the dispatcher of any event, with fake workers and without a score step, whose costs are
measured.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from ramp_database.queue import returning
from ramp_database.session import Database
from ramp_engine import logs
from ramp_engine.config import load_event
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.rehearsal import troubles
from ramp_engine.rehearsal.limits import RETRY_DELAY_SECONDS
from ramp_engine.rehearsal.meter import Meter, reporting
from ramp_engine.rehearsal.stage import STAGE_FILE
from ramp_engine.testing import canned_scores

__all__ = ["main"]


def main(directory: Path) -> None:
    """Dispatch until told to stop.

    Parameters
    ----------
    directory : Path
        The rehearsal's.
    """
    logs.configure(1)
    told = json.loads((directory / STAGE_FILE).read_text())
    database = Database(told["url"])
    event = load_event(Path(told["event_config"]))
    if told["is_chaotic"]:
        returning.FIRST_DELAY_SECONDS = RETRY_DELAY_SECONDS
        troubles.install(directory / "troubles", database.engine, event.directory)
    dispatcher = Dispatcher(database, event, score=canned_scores)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: dispatcher.stop())
    with reporting(Meter(database.engine), directory / "reports"):
        dispatcher.run()
    database.dispose()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
