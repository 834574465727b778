"""Submissions for the iris event that fail, each in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

_FRAME = """\
import os
import signal
import sys

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Model(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
{fit}
        return self

    def predict_proba(self, X):
        is_test = len(X) == 50
        y_pred = np.full((len(X), 3), 1 / 3)
{predict}
        return y_pred


def get_estimator():
    return Model()
"""


@dataclass(frozen=True)
class Misdeed:
    """A submission, and what must become of it."""

    name: str
    state: str  #: of the fold step
    says: tuple[str, ...] = ()  #: what the participant must be told
    starts: str = 'Traceback (most recent call last):\n  File "estimator.py", line'
    fit: str = ""
    predict: str = ""
    file: str | None = None  #: instead of the usual one

    def write(self, folder: Path) -> Path:
        submission = folder / self.name
        submission.mkdir(parents=True)
        code = self.file
        if code is None:
            code = _FRAME.format(fit=_indented(self.fit), predict=_indented(self.predict))
        if code:
            (submission / "estimator.py").write_text(code, encoding="utf-8")
        return submission


def _indented(code: str) -> str:
    return indent(dedent(code).strip("\n"), " " * 8)


_TRAINING = "training_error"
_VALIDATING = "validating_error"
_TESTING = "testing_error"
_KEPT = "The message is kept from participants"

MISDEEDS = [
    Misdeed("raises", _TRAINING, ("ValueError: no", "in fit"), fit="raise ValueError('no')"),
    Misdeed(
        "raises_deep_down",
        _TRAINING,
        ("KeyError: 'petal'", "in fit", "pandas/core"),
        fit="X['petal']",
    ),
    Misdeed(
        "raises_from",
        _TRAINING,
        ("ZeroDivisionError", "direct cause", "RuntimeError: outer"),
        fit="""
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise RuntimeError("outer") from error
        """,
    ),
    Misdeed(
        "exits_0", _TRAINING, ("sys.exit", "SystemExit: 0"), "The code ended", fit="sys.exit(0)"
    ),
    Misdeed(
        "exits_1", _TRAINING, ("sys.exit", "SystemExit: 1"), "The code ended", fit="sys.exit(1)"
    ),
    Misdeed("leaves", _TRAINING, ("exit code 0", "while training"), "The code", fit="os._exit(0)"),
    Misdeed(
        "segfaults",
        _TRAINING,
        ("SIGSEGV", "segmentation fault", "while training"),
        "The process was ended",
        fit="os.kill(os.getpid(), signal.SIGSEGV)",
    ),
    Misdeed(
        "is_killed",
        _VALIDATING,
        ("SIGKILL", "memory", "while predicting the training data"),
        "The process was ended",
        predict="os.kill(os.getpid(), signal.SIGKILL)",
    ),
    Misdeed(
        "recurses",
        _TRAINING,
        ("RecursionError", "Previous line repeated"),
        fit="""
        def again():
            again()
        again()
        """,
    ),
    Misdeed(
        "breaks_str",
        _TRAINING,
        ("Rude", "exception str() failed"),
        fit="""
        class Rude(Exception):
            def __str__(self):
                raise self
        raise Rude
        """,
    ),
    Misdeed(
        "speaks_in_bytes",
        _TRAINING,
        ("ValueError: \\udcff\\x00é",),
        fit="raise ValueError('\\udcff\\x00\\xe9')",
    ),
    Misdeed("interrupts", _TRAINING, ("KeyboardInterrupt",), fit="raise KeyboardInterrupt"),
    Misdeed(
        "closes_stdout",
        _TRAINING,
        ("ValueError: silence",),
        fit="""
        sys.stdout.close()
        os.close(2)
        raise ValueError("silence")
        """,
    ),
    Misdeed(
        "is_no_python",
        _TRAINING,
        ("SyntaxError", "y ="),
        '  File "estimator.py", line 2',
        file="x = 1\ny =\n",
    ),
    Misdeed("has_no_file", _TRAINING, ("FileNotFoundError", "estimator.py"), "Traceback", file=""),
    Misdeed(
        "has_no_model",
        _TRAINING,
        ("'NoneType' object has no attribute 'fit'",),
        'Traceback (most recent call last):\n  File "rampwf/workflows/',
        file="def get_estimator():\n    pass\n",
    ),
    Misdeed(
        "predicts_none", _VALIDATING, ("are None",), "The predictions", predict="y_pred = None"
    ),
    Misdeed(
        "predicts_ragged",
        _VALIDATING,
        ("cannot be made an array",),
        "The predictions",
        predict="y_pred = [[1], [1, 2]]",
    ),
    Misdeed(
        "predicts_an_object",
        _VALIDATING,
        ("no array but one object (Model)",),
        "The predictions",
        predict="y_pred = self",
    ),
    Misdeed(
        "predicts_objects",
        _VALIDATING,
        ("Model is neither number",),
        "The predictions",
        predict="y_pred = np.array([self] * len(X))",
    ),
    Misdeed(
        "fails_later",
        _VALIDATING,
        ("in predict_proba", "ValueError: X"),
        predict="raise ValueError('X')",
    ),
    Misdeed(
        "tells_test_data",
        _TESTING,
        ("ValueError at estimator.py, line 19", _KEPT),
        "ValueError",
        predict="""
        if is_test:
            raise ValueError(X.to_string())
        """,
    ),
    Misdeed(
        "tells_in_a_name",
        _TESTING,
        ("RuntimeError at estimator.py, line 19", _KEPT),
        "RuntimeError",
        predict="""
        if is_test:
            raise type("Secret" + X.to_string(), (RuntimeError,), {})
        """,
    ),
    Misdeed(
        "tells_in_an_exit",
        _TESTING,
        ("SystemExit at estimator.py", _KEPT),
        "SystemExit",
        predict="""
        if is_test:
            sys.exit(X.to_string())
        """,
    ),
    Misdeed(
        "leaves_in_the_test",
        _TESTING,
        ("exit code 3", "while predicting the test data"),
        "The code",
        predict="""
        if is_test:
            os._exit(3)
        """,
    ),
    Misdeed(
        "tells_in_its_own_report",
        _TESTING,
        ("exit code 0", "while predicting the test data"),
        "The code",
        predict="""
        if is_test:
            import pathlib
            root = pathlib.Path.cwd().parents[2]
            record = root / "output" / "tells_in_its_own_report" / "fold_0"
            for folder in (record, pathlib.Path.cwd().with_name("output_0")):
                folder.joinpath("error.txt").write_text(X.to_string())
                folder.joinpath("state.txt").write_text("training_error")
            root.joinpath("private", "tells_in_its_own_report").write_text(X.to_string())
            os._exit(0)
        """,
    ),
    Misdeed(
        "predicts_none_in_the_test",
        _TESTING,
        (),
        "The predictions of the test data cannot be used.",
        predict="""
        if is_test:
            y_pred = None
        """,
    ),
]

#: These are done although they do strange things.
ODDITIES = [
    Misdeed("moves_away", "tested", fit="os.chdir('/')", predict="os.chdir('/')"),
    Misdeed("forks", "tested", fit="os.fork()", predict="os.fork()"),
    Misdeed(
        "forks_and_raises",
        "tested",
        fit="""
        if os.fork() == 0:
            raise ValueError("in the copy")
        """,
    ),
    Misdeed("is_silent", "tested", fit="sys.stdout = sys.stderr = None"),
    Misdeed("shuts_up", "tested", fit="os.close(1); os.close(2)"),
    Misdeed(
        "talks",
        "tested",
        fit="self.copy = os.dup(1); print('while training', flush=True)",
        predict="""
        if is_test:
            print("SECRET", X.to_string())
            os.write(self.copy, b"SECRET")
            os.write(2, b"SECRET")
        """,
    ),
    Misdeed(
        "writes_its_scores",
        "tested",
        fit="""
        import pathlib
        folder = pathlib.Path.cwd().parents[2] / "output" / "writes_its_scores" / "fold_0"
        folder.joinpath("scores.csv").write_text("step,acc\\nvalid,1\\n")
        """,
    ),
]

#: Predictions that the score step refuses; the fold step takes them as they are.
WRONG = [
    Misdeed("too_few", _VALIDATING, ("(100, 3)", "(99, 3)"), predict="y_pred = y_pred[1:]"),
    Misdeed("one_column", _VALIDATING, ("(100, 3)", "(100,)"), predict="y_pred = y_pred[:, 0]"),
    Misdeed("names", _VALIDATING, ("(100, 3)",), predict="y_pred = np.array(['iris'] * len(X))"),
    Misdeed(
        "nan", _VALIDATING, ("2 of the 100 predictions are NaN",), predict="y_pred[3:5] = np.nan"
    ),
    Misdeed(
        "nan_in_test",
        _TESTING,
        ("fold 0, test data", "1 of the 50 predictions are NaN"),
        predict="y_pred[3] = np.nan if is_test else 1",
    ),
    Misdeed(
        "texts", _VALIDATING, ("cannot be scored",), predict="y_pred = np.full((len(X), 3), 'x')"
    ),
]
