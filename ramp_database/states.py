"""The states of a submission and the transitions between them.

The values are those that RAMP's users, front ends and scripts know. ``queue`` is the only module
that writes a state, and it writes none that is not in `TRANSITIONS`.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """State of a submission."""

    NEW = "new"  #: waits to be claimed
    SENT_TO_TRAINING = "sent_to_training"  #: claimed; its worker is being set up
    TRAINING = "training"  #: its folds run
    TESTED = "tested"  #: predictions are collected and published, scores are not there yet
    SCORED = "scored"  #: final: on the leaderboard
    TRAINING_ERROR = "training_error"  #: final: the participant's code failed while training
    VALIDATING_ERROR = "validating_error"  #: final: it failed while predicting the training data
    TESTING_ERROR = "testing_error"  #: final: it failed while predicting the test data
    CHECKING_ERROR = "checking_error"  #: final: the platform failed and its attempts are spent
    CANCELED = "canceled"  #: final: withdrawn by its team or the organiser

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the submission by itself."""
        return self in FINAL


#: States in which a dispatcher owns the submission.
OWNED = frozenset({State.SENT_TO_TRAINING, State.TRAINING, State.TESTED})

#: States that mean that the participant's code failed.
PARTICIPANT_ERRORS = frozenset({State.TRAINING_ERROR, State.VALIDATING_ERROR, State.TESTING_ERROR})

#: States in which a submission stays unless an organiser reopens it.
FINAL = PARTICIPANT_ERRORS | {State.SCORED, State.CHECKING_ERROR, State.CANCELED}

_FROM_OWNED = FINAL - {State.SCORED} | {State.NEW}

#: Every transition that there is: from a state to the states that may follow it.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.SENT_TO_TRAINING, State.CANCELED, State.CHECKING_ERROR}),
    State.SENT_TO_TRAINING: _FROM_OWNED | {State.TRAINING},
    State.TRAINING: _FROM_OWNED | {State.TESTED},
    State.TESTED: _FROM_OWNED | {State.SCORED},
    **{state: frozenset({State.NEW}) for state in FINAL},
}
