"""The states of a submission, drawn from the table of transitions.

Arrows that several states share are drawn once, from the frame around them.
"""

from __future__ import annotations

from drawing import Box, Drawing, Point
from ramp_database.states import FINAL, OWNED, PARTICIPANT_ERRORS, TRANSITIONS, State

__all__ = ["draw_states"]

_OWNED = Box(210, 60, 610, 140)
_THEIRS = Box(210, 290, 466, 110)
_PLACES = {
    State.NEW: Box(20, 110, 110, 56),
    State.SENT_TO_TRAINING: Box(230, 110, 160, 56),
    State.TRAINING: Box(470, 110, 120, 56),
    State.TESTED: Box(680, 110, 120, 56),
    State.SCORED: Box(900, 110, 120, 56),
    State.TRAINING_ERROR: Box(226, 328, 136, 56),
    State.VALIDATING_ERROR: Box(372, 328, 144, 56),
    State.TESTING_ERROR: Box(526, 328, 134, 56),
    State.CHECKING_ERROR: Box(700, 328, 140, 56),
    State.CANCELED: Box(870, 328, 120, 56),
}
_UNDER = {
    State.NEW: "waits",
    State.SENT_TO_TRAINING: "claimed, being set up",
    State.TRAINING: "its folds run",
    State.TESTED: "to be scored",
    State.SCORED: "on the leaderboard",
    State.TRAINING_ERROR: "while training",
    State.VALIDATING_ERROR: "on training data",
    State.TESTING_ERROR: "on test data",
    State.CHECKING_ERROR: "the platform failed",
    State.CANCELED: "withdrawn",
}
#: Why a submission goes this way, where one goes on.
_STEPS = {
    (State.NEW, State.SENT_TO_TRAINING): "claim",
    (State.SENT_TO_TRAINING, State.TRAINING): "start",
    (State.TRAINING, State.TESTED): "collect",
    (State.TESTED, State.SCORED): "score",
}


def draw_states() -> str:
    """Draw the states as SVG.

    Raises
    ------
    ValueError
        The table has a transition that this picture does not show: it has to be drawn anew.
    """
    drawing = Drawing(1040, 480, "The states of a submission and what leads from one to another")
    drawing.box(_OWNED, "owned by a dispatcher", kind="frame")
    drawing.box(_THEIRS, "the participant's code failed", kind="frame")
    for state, box in _PLACES.items():
        drawing.box(box, state, [_UNDER[state]], _kind(state))
    shown = _draw_steps(drawing) | _draw_shared(drawing) | _draw_others(drawing)
    told = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    if shown != told:
        raise ValueError(f"transitions drawn and not there, or the reverse: {shown ^ told}")
    return drawing.svg()


def _kind(state: State) -> str:
    if state is State.SCORED:
        return "good"
    if state is State.CANCELED:
        return "plain"
    return "bad" if state in FINAL else ""


_Shown = set[tuple[State, State]]


def _draw_steps(drawing: Drawing) -> _Shown:
    for (source, target), label in _STEPS.items():
        start, end = _PLACES[source].right, _PLACES[target].left
        at = ((start[0] + end[0]) / 2, start[1] - 8)
        if source is State.NEW:  # the frame of the owned ones stands between
            at = (170, at[1])
        _arrow(drawing, [start, end], label, at, [source], [target])
    return set(_STEPS)


def _draw_shared(drawing: Drawing) -> _Shown:
    """Draw what leads from any owned state."""
    errors = sorted(PARTICIPANT_ERRORS)
    below = _OWNED.y + _OWNED.height
    owned = sorted(OWNED)
    x = _THEIRS.top(0.5)[0]
    label = "the code fails, or goes beyond a limit"
    _arrow(drawing, [(x, below), (x, _THEIRS.y)], label, (x - 8, 250), owned, errors, "end")
    x = _PLACES[State.CHECKING_ERROR].top()[0]
    path: list[Point] = [(x, below), (x, _PLACES[State.CHECKING_ERROR].y)]
    label = "max_attempts are spent"
    _arrow(drawing, path, label, (x - 8, 232), owned, [State.CHECKING_ERROR], "end")
    x = _PLACES[State.CANCELED].top()[0]
    path = [(_OWNED.right[0], 185), (x, 185), (x, _PLACES[State.CANCELED].y)]
    _arrow(drawing, path, "cancel", (x + 8, 250), owned, [State.CANCELED], "start")
    back = _PLACES[State.NEW].top()
    path = [_OWNED.top(0.5), (_OWNED.top(0.5)[0], 30), (back[0], 30), back]
    label = "release, retry, rescue: the attempt ended through no fault of the submission"
    _arrow(drawing, path, label, (back[0] + 12, 22), owned, [State.NEW], "start")
    targets = [*errors, State.CHECKING_ERROR, State.CANCELED, State.NEW]
    return {(source, target) for source in owned for target in targets}


def _draw_others(drawing: Drawing) -> _Shown:
    """Draw how a submission ends unclaimed, and how an organiser takes a final one back."""
    new = _PLACES[State.NEW]
    ends = [State.CANCELED, State.CHECKING_ERROR]
    along = 450.0
    left, right = new.bottom(0.3)[0], new.bottom(0.7)[0]
    aims = [_PLACES[end].bottom(0.35)[0] for end in ends]
    for x, end in zip(aims, ends, strict=True):
        path = [(right, new.y + new.height), (right, 418), (x, 418), (x, _PLACES[end].bottom()[1])]
        _arrow(drawing, path, "", (0, 0), [State.NEW], [end])
    drawing.note((right + 12, 433), "canceled, or set aside by an organiser, before it was claimed")
    finals = [State.CHECKING_ERROR, State.CANCELED, State.SCORED, *sorted(PARTICIPANT_ERRORS)]
    scored = _PLACES[State.SCORED].bottom(0.9)
    path = [scored, (scored[0], along), (left, along), (left, new.y + new.height)]
    label = "reopen: an organiser takes any final one back (ramp retry)"
    _arrow(drawing, path, label, (left + 45, along + 16), finals, [State.NEW], "start")
    return {(State.NEW, end) for end in ends} | {(state, State.NEW) for state in finals}


def _arrow(
    drawing: Drawing,
    points: list[Point],
    label: str,
    at: Point,
    sources: list[State],
    targets: list[State],
    anchor: str = "middle",
) -> None:
    told = {"from": " ".join(sources), "to": " ".join(targets)}
    drawing.arrow(points, label, at, anchor, **told)
