"""The queue: the only writer of the state of a submission.

A dispatcher claims submissions and gets a `Claim` for each; (owner, attempt) in it is the token
for every later write. Each write changes its row only while that token and the expected state still
hold; otherwise it raises `ClaimLostError` or `TransitionError` and nothing is recorded. Each
transition is one of `ramp_database.states.TRANSITIONS` and appends a row to ``submission_events``.

No function commits: states, results and history of one call land together or not at all.
"""

from __future__ import annotations

from ramp_database.queue.adopting import Adopted, holder
from ramp_database.queue.claims import claim, fail, finish, note_partial, score, start
from ramp_database.queue.organising import cancel, reopen, set_state
from ramp_database.queue.ownership import (
    Outlook,
    Owned,
    count_open,
    is_cancel_requested,
    outlook,
    owned,
    owned_of_event,
)
from ramp_database.queue.rescuing import Rescued, rescue
from ramp_database.queue.returning import (
    MAX_INTERRUPTIONS,
    acknowledge_cancel,
    crash,
    release,
    retry_delay_seconds,
)
from ramp_database.queue.transitions import SUBMITTED, Claim, record_arrival

__all__ = [
    "MAX_INTERRUPTIONS",
    "SUBMITTED",
    "Adopted",
    "Claim",
    "Outlook",
    "Owned",
    "Rescued",
    "acknowledge_cancel",
    "cancel",
    "claim",
    "count_open",
    "crash",
    "fail",
    "finish",
    "holder",
    "is_cancel_requested",
    "note_partial",
    "outlook",
    "owned",
    "owned_of_event",
    "record_arrival",
    "release",
    "reopen",
    "rescue",
    "retry_delay_seconds",
    "score",
    "set_state",
    "start",
]
