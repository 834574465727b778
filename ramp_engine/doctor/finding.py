"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Kind", "Level", "ok", "problem", "warning"]


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"  #: as it should be
    WARNING = "warning"  #: submissions are evaluated; somebody should look at it all the same
    PROBLEM = "problem"  #: submissions are not, or not rightly, evaluated


class Kind(StrEnum):
    """What is wrong: each has a section of that name in ``doc/howto/recover.md``."""

    CHECK_FAILED = "check-failed"
    CONFIG_INVALID = "configuration-invalid"
    HOOK_UNUSABLE = "hook-unusable"
    EVENT_FILE_MISSING = "event-file-missing"
    DATABASE_MISSING = "database-missing"
    DATABASE_READ_ONLY = "database-read-only"
    DATABASE_VERSION = "database-version"
    DATABASE_AWAY = "database-away"
    NOT_DEPLOYED = "event-not-deployed"
    UNREADABLE = "directory-unreadable"
    UNWRITABLE = "directory-unwritable"
    DISK_FULL = "disk-full"
    ENVIRONMENT_MISSING = "environment-missing"
    ENVIRONMENT_BROKEN = "environment-broken"
    ENVIRONMENT_CHANGED = "environment-changed"
    UNCONFINED = "unconfined"
    CONFINEMENT_REFUSED = "confinement-refused"
    CONFINEMENT_WEAKER = "confinement-weaker"
    LABELS_IN_REACH = "labels-in-reach"
    GPU_CLOSED = "gpu-closed"
    KIT_CHANGED = "kit-changed"
    BUNDLE_IMPOSSIBLE = "bundle-impossible"
    BUNDLE_MISSING = "bundle-missing"
    CLUSTER_AWAY = "cluster-away"
    NO_NODES = "no-nodes"
    NO_ROOM = "no-room"
    NODE_REFUSED = "node-refused"
    NODE_LEAVING = "node-leaving"
    NODE_FAILS = "node-fails"
    NODES_UNTRIED = "nodes-untried"
    PLACE_NOT_READY = "place-not-ready"
    LEFTOVERS = "leftovers"
    DISPATCHER_SILENT = "dispatcher-silent"
    SUBMISSIONS_ORPHANED = "submissions-orphaned"
    NO_DISPATCHER = "no-dispatcher"
    PLATFORM_FAILED = "platform-failed"


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis."""

    level: Level
    message: str  #: what was found
    remedy: str = ""  #: the command that mends it, or what to do
    check: str = ""  #: name of the check
    event: str | None = None  #: name of the event; None when it is about the deployment
    kind: Kind | None = None  #: None when nothing is wrong


def ok(message: str) -> Finding:
    """Find that something is as it should be."""
    return Finding(Level.OK, message)


def warning(kind: Kind, message: str, remedy: str) -> Finding:
    """Find something that somebody should look at."""
    return Finding(Level.WARNING, message, remedy, kind=kind)


def problem(kind: Kind, message: str, remedy: str) -> Finding:
    """Find something that keeps submissions from being evaluated."""
    return Finding(Level.PROBLEM, message, remedy, kind=kind)
