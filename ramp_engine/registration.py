"""What the database knows of a dispatcher that is at work."""

from __future__ import annotations

import logging
import os
import socket

from ramp_database import dispatchers
from ramp_database.session import Database
from ramp_engine.config_sections import DispatcherSection
from ramp_engine.errors import DatabaseUnavailableError

__all__ = ["Registration"]

logger = logging.getLogger(__name__)


class Registration:
    """The row of a dispatcher; `register` may be called again, which makes another one.

    Parameters
    ----------
    database : Database
    event_id : int
    limits : DispatcherSection
    """

    def __init__(self, database: Database, event_id: int, limits: DispatcherSection) -> None:
        self._database, self._event_id, self._limits = database, event_id, limits
        self._id = 0

    def register(self) -> int:
        """Tell that this process is a dispatcher of the event; give its number."""
        with self._database.session() as session:
            self._id = dispatchers.register(
                session,
                self._event_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                n_workers=self._limits.n_workers,
                stale_after_seconds=self._limits.stale_after_seconds,
            )
        return self._id

    def beat(self) -> bool:
        """Tell that it lives; False: it was taken for dead."""
        with self._database.session() as session:
            return dispatchers.beat(session, self._id)

    def deregister(self) -> None:
        """Tell that it ends, if the database is there."""
        try:
            with self._database.session() as session:
                dispatchers.deregister(session, self._id)
        except DatabaseUnavailableError:
            logger.warning("the database is away: others will see that this dispatcher ended")
