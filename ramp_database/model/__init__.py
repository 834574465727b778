"""The tables, one module an aggregate."""

from __future__ import annotations

from ramp_database.model.base import Base
from ramp_database.model.blend import Contributivity, EventBlend
from ramp_database.model.dispatcher import Dispatcher
from ramp_database.model.event import Event, EventTeam, Fold, ScoreType
from ramp_database.model.people import Team, TeamMember, User
from ramp_database.model.problem import Problem
from ramp_database.model.submission import (
    Attempt,
    BaggedScore,
    ComputeHour,
    EndedCount,
    FoldScore,
    FoldTime,
    Submission,
    SubmissionEvent,
    SubmissionFile,
)

__all__ = [
    "Attempt",
    "BaggedScore",
    "Base",
    "ComputeHour",
    "Contributivity",
    "Dispatcher",
    "EndedCount",
    "Event",
    "EventBlend",
    "EventTeam",
    "Fold",
    "FoldScore",
    "FoldTime",
    "Problem",
    "ScoreType",
    "Submission",
    "SubmissionEvent",
    "SubmissionFile",
    "Team",
    "TeamMember",
    "User",
]
