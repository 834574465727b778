"""The way of a submission through the parts of ramp, drawn."""

from __future__ import annotations

from drawing import Box, Drawing

__all__ = ["draw_submission"]


def draw_submission() -> str:
    """Draw it as SVG: the trusted side above, the place where the submission runs below."""
    drawing = Drawing(1040, 500, "The way of a submission from ramp submit to the leaderboard")
    drawing.box(Box(236, 24, 784, 226), "trusted: the organiser's machines", kind="frame")
    drawing.box(Box(380, 298, 640, 178), "untrusted: the run", kind="frame")
    team = drawing.box(Box(20, 70, 130, 64), "team", ["its files"], "plain")
    database = drawing.box(
        Box(256, 62, 134, 80), "database", ["queue, history,", "scores"], "secret"
    )
    dispatcher = drawing.box(
        Box(500, 62, 150, 80), "dispatcher", ["claims, watches,", "judges, records"]
    )
    score = drawing.box(
        Box(790, 62, 200, 80),
        "score step",
        ["holds the test labels;", "runs no submission"],
        "secret",
    )
    board = drawing.box(Box(20, 180, 130, 56), "leaderboard", ["a query"], "good")
    worker = drawing.box(Box(500, 178, 150, 56), "worker", ["local, Dask, AWS, ..."])
    files = drawing.box(Box(790, 178, 200, 56), "predictions", ["published by renaming"], "plain")
    supervisor = drawing.box(
        Box(410, 342, 160, 76), "supervisor", ["ends the whole tree,", "whatever dies"]
    )
    folds = drawing.box(
        Box(650, 332, 340, 116),
        "folds, side by side, each confined",
        [
            "the bundle: X_train, y_train, the kit's code",
            "X_test once it has trained;",
            "never a test label",
        ],
        "bad",
    )
    drawing.arrow([team.right, database.left], "ramp submit", (193, 92))
    drawing.arrow([(390, 90), (500, 90)], "claim", (445, 82))
    drawing.arrow([(500, 122), (390, 122)], "states, scores", (445, 138))
    drawing.arrow(
        [dispatcher.bottom(), worker.top()], "setup, launch, status,", (584, 156), "start"
    )
    drawing.note((584, 170), "collect, teardown")
    drawing.arrow([(540, 234), (540, 342)], "bundle, files", (532, 292), "end")
    drawing.arrow([supervisor.right, (650, supervisor.right[1])])
    drawing.arrow([(720, folds.y), (720, 222), (650, 222)])
    drawing.note((728, 280), "predictions as data, log")
    drawing.arrow([(650, 196), (790, 196)], "collected", (720, 189))
    drawing.arrow([files.top(), score.bottom()], "read without pickle", (898, 164), "start")
    drawing.arrow([score.left, dispatcher.right], "scores", (720, 95))
    drawing.arrow([database.bottom(), (323, 208), board.right], "ranks", (193, 202))
    return drawing.svg()
