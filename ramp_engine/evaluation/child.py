"""One fold in a process of its own. This is where the participant's code runs.

Nothing in this process can be trusted once their code has begun. What protects the test data is
therefore order: X_test is read after training and validating, when the parent has been told, has
switched all output to the organisers' log and has said that it may be read. Test labels are never
here.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import inspect
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Optional, TextIO

import numpy as np

from . import arrays, bundle, data_files
from .arrays import RefusedPredictionsError
from .failure import participant_report
from .kit import Fold
from .private import MAX_FACTS, TESTING, TRAINED, TRAINING, facts


@dataclass(frozen=True)
class Task:
    """One fold of one submission."""

    fold: int  #: its number
    submission: Path  #: the folder with the participant's files
    output: Path  #: where it leaves predictions, times and state; only `record` takes from there
    scratch: Path  #: the folder to work in
    bundle: Path  #: the public part of the bundle
    log: int  #: descriptor of the pipe for all that is printed
    facts: int  #: descriptor of the pipe to the parent
    go: int  #: descriptor of the pipe on which the parent says that the test data may be read
    known_errors: dict[type[BaseException], str]  #: those that were there before
    has_test: bool  #: whether there is an X_test
    labels: Optional[Path] = None  #: the folder of this fold's labels; None: they come with X


class _FoldFailed(Exception):
    """The participant's code has failed, and it has been told."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


#: Exit code of a child that failed by itself. Once the participant's code has begun it proves
#: nothing: that code can end the process by any code.
EXIT_OURS = 70
#: Exit code of a child that has told of a failure of the participant's code.
EXIT_TOLD = 71
#: The same, where the failure was a file that reached the limit of its size.
EXIT_FILE_LIMIT = 72


def run(task: Task, problem: Any, X: Any, y: Any, fold: Fold) -> NoReturn:
    """Train, predict and leave. Never returns: the process ends here, without clean-up.

    Parameters
    ----------
    task : Task
        What to do.
    problem : module
        The problem.
    X, y : object
        All training instances and labels; no labels where the task names their folder.
    fold : pair of ndarray
        Indices of training and validation.
    """
    code = EXIT_OURS
    one = _Fold(task, problem, fold)
    try:
        one.run(X, y)
        code = 0
    except _FoldFailed as failure:
        code = failure.code
    except BaseException as error:  # noqa: BLE001 (the outermost frame of a process)
        if _is_file_limit(error):  # the predictions themselves
            code = EXIT_FILE_LIMIT
        with contextlib.suppress(BaseException):
            if not one.has_begun:
                tell_failure(task.facts, error)
            traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            _flush()
        os._exit(code)


def tell_failure(descriptor: int, error: BaseException) -> None:
    """Tell the parent why the participant's code has not begun."""
    reason = {"message": str(error) or type(error).__name__, "hint": getattr(error, "hint", "")}
    os.write(descriptor, json.dumps(reason)[: MAX_FACTS // 2].encode())


class _Fold:
    """The phases of a fold, and what each leaves on disk.

    The code of a participant may fork and return here twice: only the process that has begun the
    fold goes on.
    """

    def __init__(self, task: Task, problem: Any, fold: Fold) -> None:
        self.task = task
        self.problem = problem
        self.fold = fold
        self.pid = os.getpid()
        self.has_begun = False  #: whether any code of the participant has run

    def run(self, X: Any, y: Any) -> None:
        random.seed()
        np.random.seed()
        faulthandler.enable()
        if self.task.labels is not None:  # where validation labels are hidden
            y = bundle.load(self.task.labels, "y", self.problem)
        self._work_on("train")
        model = self._train(X, y)
        self._predict("train", model, X, self.fold)
        self._await_release()
        if self.task.has_test:
            self._work_on("test")
            X_test = bundle.load(self.task.bundle / "test", "X", self.problem)
            self._predict("test", model, X_test, None)
        else:
            self._note("test_time", "0.0")
            self._note("state.txt", "tested")

    def _train(self, X: Any, y: Any) -> Any:
        workflow = self.problem.workflow
        os.write(self.task.facts, TRAINING)
        self.has_begun = True
        model = self._phase(
            lambda: workflow.train_submission(str(self.task.submission), X, y, self.fold[0]),
            "train_time",
            "training_error",
            "trained",
        )
        with contextlib.suppress(OSError):  # of closed descriptors is told at the release
            os.write(self.task.facts, TRAINED)
        return model

    def _predict(self, suffix: str, model: Any, X: Any, fold: Any) -> None:
        os.chdir(self.task.scratch)
        workflow = self.problem.workflow
        arguments = (model, X, fold) if _takes_fold(workflow) else (model, X)
        is_test = suffix == "test"
        error_state = "testing_error" if is_test else "validating_error"
        y_pred = self._phase(
            lambda: workflow.test_submission(*arguments),
            "test_time" if is_test else "valid_time",
            error_state,
        )
        self._keep(y_pred, suffix, error_state)
        self._note("state.txt", "tested" if is_test else "validated")

    def _keep(self, y_pred: Any, suffix: str, error_state: str) -> None:
        try:
            array = arrays.to_array(y_pred)
            self._stay_alone()
            arrays.write(array, self.task.output, suffix)
        except RefusedPredictionsError as error:
            reason = f"The predictions of the {suffix} data cannot be used"
            self._fail(error_state, f"{reason}: {error}.\n", f"{reason}: {error}.\n")
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 (methods of the participant's objects)
            self._fail(error_state, *self._reports(error, error_state))

    def _phase(
        self, work: Callable[[], Any], time_name: str, error_state: str, state: str = ""
    ) -> Any:
        """Run the participant's code, measured as ramp-test does it."""
        start = time.time()
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 (the participant's code)
            self._stay_alone()
            code = EXIT_FILE_LIMIT if _is_file_limit(error) else EXIT_TOLD
            self._fail(error_state, *self._reports(error, error_state), code)
        seconds = time.time() - start
        self._note(time_name, str(seconds))
        if state:
            self._note("state.txt", state)
        return result

    def _reports(self, error: BaseException, state: str) -> tuple[str, str]:
        """Return what the participant is told and what the log says."""
        submission = str(self.task.submission)
        full = participant_report(error, submission, str(self.task.bundle / "kit"))
        if state != "testing_error":
            return full, full
        os.write(self.task.facts, facts(error, submission, self.task.known_errors))
        return "", full

    def _fail(self, state: str, report: str, log: str, code: int = EXIT_TOLD) -> NoReturn:
        if state != "testing_error":  # of that the parent tells, which has not seen the data
            self._note("error.txt", report)
        self._note("state.txt", state)
        with contextlib.suppress(BaseException):
            print(log, end="", flush=True)
        raise _FoldFailed(code)

    def _note(self, name: str, text: str) -> None:
        self._stay_alone()
        (self.task.output / name).write_text(text, encoding="utf-8", errors="backslashreplace")

    def _stay_alone(self) -> None:
        if os.getpid() != self.pid:
            os._exit(0)

    def _work_on(self, part: str) -> None:
        """Work in the scratch folder, where the files that X refers to are linked."""
        self.task.scratch.mkdir(parents=True, exist_ok=True)
        files = self.task.bundle / part / "files"
        if files.is_dir():
            data_files.link(files, self.task.scratch)
        os.chdir(self.task.scratch)

    def _await_release(self) -> None:
        """Tell the parent that training and validating are done; wait until it has seen to it."""
        self._stay_alone()
        _flush()
        try:
            for number in (1, 2):
                os.dup2(self.task.log, number)
            os.write(self.task.facts, TESTING)
            answer = os.read(self.task.go, 1)
        except OSError:
            report = "The code has closed file descriptors that it had not opened.\n"
            self._fail("validating_error", report, report)
        if not answer:
            os._exit(EXIT_OURS)  # the parent is gone
        sys.stdout = _text_output(1)
        sys.stderr = _text_output(2)


def _takes_fold(workflow: Any) -> bool:
    """Return whether ``test_submission`` takes the fold as well, as ramp-workflow decides it."""
    parameters = list(inspect.signature(workflow.test_submission).parameters)
    return len(parameters) == 3 and parameters[2] == "fold"


def _is_file_limit(error: Optional[BaseException]) -> bool:
    """Return whether it was the size of a file that has led to an error."""
    for _ in range(20):  # a chain may be made without end
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            return True
        error = error and (error.__cause__ or error.__context__)
    return False


def _text_output(descriptor: int) -> TextIO:
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
