"""The way of a submission through the parts of ramp, drawn."""

from __future__ import annotations

from drawing import Box, Drawing

__all__ = ["draw_submission"]


def draw_submission() -> str:
    """Draw it as SVG: the trusted side above, the place where the submission runs below."""
    drawing = Drawing(1040, 500, "The way of a submission from ramp submit to the leaderboard")
    drawing.box(Box(200, 24, 820, 226), "trusted: the organiser's machines", kind="plain frame")
    drawing.box(Box(380, 300, 640, 180), "untrusted: where the worker runs it", kind="plain frame")
    team = drawing.box(Box(20, 70, 130, 64), "team", ["its files"], "plain")
    database = drawing.box(
        Box(230, 62, 150, 80), "database", ["queue, history,", "scores"], "secret"
    )
    dispatcher = drawing.box(
        Box(500, 62, 150, 80), "dispatcher", ["claims, watches,", "judges, records"]
    )
    score = drawing.box(Box(790, 62, 200, 80), "score step", ["holds the test labels;", "runs no submission"], "secret")  # noqa: E501
    board = drawing.box(Box(20, 180, 130, 56), "leaderboard", ["a query"], "good")
    worker = drawing.box(Box(500, 178, 150, 56), "worker", ["local, Dask, AWS, ..."])
    files = drawing.box(Box(790, 178, 200, 56), "predictions", ["published by renaming"], "plain")
    supervisor = drawing.box(
        Box(410, 340, 160, 76), "supervisor", ["ends the whole tree,", "whatever dies"]
    )
    folds = drawing.box(
        Box(650, 332, 340, 116),
        "folds, side by side, each confined",
        ["the bundle: X_train, y_train, the kit's code", "X_test once it has trained;", "never a test label"],  # noqa: E501
        "bad",
    )
    drawing.arrow([team.right, database.left], "ramp submit", (190, 92))
    drawing.arrow([(380, 90), (500, 90)], "claim", (440, 82))
    drawing.arrow([(500, 122), (380, 122)], "states, scores", (440, 138))
    drawing.arrow([dispatcher.bottom(), worker.top()], "setup, launch, status,", (584, 156), "start")  # noqa: E501
    drawing.note((584, 170), "collect, teardown")
    drawing.arrow([(540, 234), (540, 340)], "bundle, files", (532, 292), "end")
    drawing.arrow([supervisor.right, (650, supervisor.right[1])])
    drawing.arrow([folds.top(0.5), (folds.top(0.5)[0], 222), (650, 222)])
    drawing.note((folds.top(0.5)[0] - 8, 280), "predictions as data, log", "end")
    drawing.arrow([(650, 200), files.left], "collected", (716, 193))
    drawing.arrow([files.top(), score.bottom()], "read without pickle", (898, 164), "start")
    drawing.arrow([score.left, dispatcher.right], "scores", (720, 95))
    drawing.arrow([database.bottom(), (305, 208), board.right], "ranks", (232, 202), "end")
    return drawing.svg()
