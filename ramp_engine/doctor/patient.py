"""What the checks examine."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ramp_database.config import DeploymentConfig
from ramp_database.model import Event
from ramp_database.session import Database
from ramp_engine.config import EventConfig

__all__ = ["Deployment", "PatientEvent"]


@dataclass
class Deployment:
    """A deployment; the checks fill in what they could open."""

    config: Path | None  #: its file as it was named, None for the default
    load_event: Callable[[Path], EventConfig]  #: reads an event's file, its worker's keys included
    settings: DeploymentConfig | None = None  #: None unless its file can be read
    database: Database | None = None  #: None unless it answers, with tables of this version


@dataclass
class PatientEvent:
    """An event of a deployment; the checks fill in what they could read."""

    deployment: Deployment
    path: Path  #: its file
    name: str  #: its name, or that of its file as long as it is not known
    config: EventConfig | None = None  #: None unless its file can be read
    row: Event | None = None  #: None unless it is deployed
    python: Path | None = None  #: the interpreter of the trusted steps, None unless it works
    environment_hash: str | None = field(default=None, repr=False)  #: of its packages

    def deploy_command(self, *, is_forced: bool = False) -> str:
        """Give the command that deploys the event."""
        force = "--force " if is_forced else ""
        return f"ramp setup deploy-event {force}--event-config {self.quoted_path}"

    @property
    def quoted_path(self) -> str:
        """The event's file, for a shell."""
        return shlex.quote(str(self.path))
