"""A failure is told in a few lines, by its cause, with what to do and how to see it at home."""

from __future__ import annotations

import pytest

from ramp_database.states import State
from ramp_engine.failure_card import MAX_LINE, Cause, Subject, card, with_card
from ramp_engine.outcome import Outcome, Verdict

SUBJECT = Subject("my forest", 12, ("estimator.py", "lib/net.py"))
TRAINING, VALIDATING = State.TRAINING_ERROR, State.VALIDATING_ERROR
TESTING = State.TESTING_ERROR


def traceback(raised: str, file: str = "estimator.py", line: int = 7) -> str:
    return (
        "Traceback (most recent call last):\n"
        f'  File "{file}", line {line}, in fit\n'
        "    self.model.fit(X['petal'])\n"
        '  File "pandas/core/frame.py", line 99, in __getitem__\n'
        "    raise it\n"
        f"{raised}\n"
    )


def failed(error: str, state: State = TRAINING, fold: int | None = 1) -> Verdict:
    return Verdict(Outcome.FAILED, state, error, fold)


def lines(verdict: Verdict, subject: Subject = SUBJECT) -> list[str]:
    told = card(verdict, subject).splitlines()
    assert 4 <= len(told) <= 8
    return told


def cause(verdict: Verdict) -> str:
    (line,) = [line for line in lines(verdict) if line.startswith("  cause:")]
    return line.removeprefix("  cause:").strip()


def test_a_card_tells_the_story_the_line_the_cause_and_how_to_see_it_at_home() -> None:
    assert lines(failed(traceback("KeyError: 'petal'"))) == [
        "fold 1, training: KeyError: 'petal' (estimator.py, line 7)",
        "  code:     self.model.fit(X['petal'])",
        "  cause:    exception",
        "  to do:    look at that line, and at the whole traceback in the log.",
        "  at home:  ramp-test --submission 'my forest'   (in the folder of the starting kit)",
        "  its log:  ramp logs 12",
    ]


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (failed(traceback("ModuleNotFoundError: No module named 'xgboost'")), Cause.IMPORT),
        (failed(traceback("ImportError: cannot import name 'f' from 'g'")), Cause.IMPORT),
        (failed(traceback("ValueError: no idea")), Cause.EXCEPTION),
        (failed(traceback("estimator.Rude: <exception str() failed>")), Cause.EXCEPTION),
        (failed(traceback("ValueError: Input X contains NaN.")), Cause.EXCEPTION),
        (failed(traceback("MemoryError")), Cause.MEMORY),
        (failed(traceback("numpy._core._exceptions._ArrayMemoryError: 3 GiB")), Cause.MEMORY),
        (failed(traceback("OSError: [Errno 28] No space left on device")), Cause.DISK),
        (failed(traceback("OSError: [Errno 5] Input/output error: 'x'")), Cause.EXCEPTION),
        (failed("The code ended ...\n" + traceback("SystemExit: 0")), Cause.ENDED),
        (
            failed('  File "estimator.py", line 2\n    y =\nSyntaxError: invalid syntax'),
            Cause.SYNTAX,
        ),
        (
            failed("fold 1, training data: 2 of the 100 predictions are NaN", VALIDATING),
            Cause.NAN,
        ),
        (
            failed(
                "fold 0, test data: the predictions must have the shape (50, 3); "
                "their shape is (49, 3)",
                TESTING,
            ),
            Cause.SHAPE,
        ),
        (failed("The predictions of the test data cannot be used.", TESTING), Cause.PREDICTIONS),
        (failed("fold 0: the predictions cannot be scored: x", VALIDATING), Cause.PREDICTIONS),
        (failed("The process was ended by signal 9 (SIGKILL) while training."), Cause.MEMORY),
        (failed("The process was ended by signal 11 (SIGSEGV) while training."), Cause.ENDED),
        (failed("The code ended its own process (exit code 0) while training"), Cause.ENDED),
        (failed("a plugin's own words"), Cause.EXCEPTION),
        (failed(""), Cause.EXCEPTION),
        (Verdict(Outcome.TIMED_OUT, TRAINING, "not done after 30 s", 1), Cause.TIME),
        (Verdict(Outcome.OUT_OF_MEMORY, TRAINING, "3.1 GB of 3 GB", 1), Cause.MEMORY),
        (Verdict(Outcome.LIMIT_EXCEEDED, TRAINING, "too much output: 3 MB", 1), Cause.DISK),
        (Verdict(Outcome.LIMIT_EXCEEDED, TRAINING, "too many processes: 70 of 64", 1), Cause.LIMIT),
        (Verdict(Outcome.LIMIT_EXCEEDED, TRAINING, "out of CPU time: 9 s", 1), Cause.TIME),
        (Verdict(Outcome.CRASHED, None, "no route to host"), Cause.PLATFORM),
    ],
)
def test_each_failure_has_its_cause(verdict: Verdict, expected: Cause) -> None:
    assert cause(verdict) == expected


def test_a_missing_package_is_named_and_that_the_organisers_decide() -> None:
    told = card(failed(traceback("ModuleNotFoundError: No module named 'sktime.all'")), SUBJECT)
    assert "package of 'sktime'" in told
    assert "the organisers: they decide which packages there are" in told


def test_the_line_is_the_innermost_of_their_own_files() -> None:
    first = traceback("ValueError: x").rsplit("ValueError", 1)[0]
    deeper = '  File "lib/net.py", line 3, in forward\n    oops()\n'
    nested = first + deeper + '  File "torch/lib/net.py", line 5, in f\n    g()\nValueError: x\n'
    told = lines(failed(nested))
    assert told[0] == "fold 1, training: ValueError: x (lib/net.py, line 3)"
    assert told[1] == "  code:     oops()"


def test_a_worker_may_name_their_files_by_absolute_paths() -> None:
    told = lines(failed(traceback("ValueError: x", "/srv/submissions/s_1/estimator.py")))
    assert told[0].endswith("(estimator.py, line 7)")
    library = traceback("ValueError: x", "/env/site-packages/sklearn/estimator.py")
    assert "estimator.py" not in lines(failed(library))[0]


def test_of_the_cause_of_an_exception_and_of_its_long_message_the_gist_is_told() -> None:
    direct = "\nThe above exception was the direct cause of the following exception:\n\n"
    chained = traceback("ZeroDivisionError: division by zero") + direct
    message = "RuntimeError: outer\nmore words\nand: more\n"
    told = lines(failed(chained + traceback(message, line=9)))
    assert told[0] == "fold 1, training: RuntimeError: outer (estimator.py, line 9)"


def test_an_error_in_the_test_tells_class_and_line_only() -> None:
    kept = (
        "ValueError at estimator.py, line 19, while predicting the test data.\n"
        "The message is kept from participants, since it could hold test data.\n"
    )
    told = lines(failed(kept, TESTING))
    assert told[0] == "fold 1, predicting the test data: ValueError (estimator.py, line 19)"
    assert cause(failed(kept, TESTING)) == Cause.EXCEPTION
    assert cause(failed(kept.replace("ValueError", "MemoryError"), TESTING)) == Cause.MEMORY


def test_of_a_traceback_from_the_test_no_message_and_no_code_is_taken() -> None:
    told = card(failed(traceback("KeyError: 'petal_width 0.3'"), TESTING), SUBJECT)
    assert "0.3" not in told
    assert "code:" not in told
    assert told.startswith("fold 1, predicting the test data: KeyError (estimator.py, line 7)")
    several = traceback("ValueError: x\n5.1 3.5 1.4 0.2")
    assert "5.1" not in card(failed(several, TESTING), SUBJECT)


def test_a_time_out_names_limit_fold_and_phase_once() -> None:
    error = "out of time: 30 s of 30 s for the whole submission, in fold 1"
    told = lines(Verdict(Outcome.TIMED_OUT, VALIDATING, error, 1))
    assert told[0] == f"predicting the training data: {error}"


def test_a_limit_is_told_with_its_figures_and_the_line_that_met_it() -> None:
    error = "a file is too large: 64 MB of 64 MB in fold 1, training\n" + traceback("OSError: 27")
    told = lines(Verdict(Outcome.LIMIT_EXCEEDED, TRAINING, error, 1))
    assert told[0] == f"{error.splitlines()[0]} (estimator.py, line 7)"
    assert "  cause:    disk" in told


def test_a_platform_failure_is_not_their_fault_and_tells_what_happens_next() -> None:
    told = lines(Verdict(Outcome.CRASHED, None, "no route to host"))
    assert told[0] == "The platform failed, not your code: no route to host"
    assert any("not your fault" in line and "evaluated again" in line for line in told)
    assert not any("at home" in line for line in told)


def test_the_queue_tells_what_becomes_of_failures_that_are_not_theirs() -> None:
    for outcome, state in (
        (Outcome.CRASHED, None),
        (Outcome.INTERRUPTED, None),
        (Outcome.CANCELED, State.CANCELED),
        (Outcome.SUCCEEDED, State.TESTED),
    ):
        verdict = Verdict(outcome, state, "reason")
        assert with_card(verdict, SUBJECT) is verdict
    assert "its log" in str(with_card(failed("x"), SUBJECT).error)


def test_outside_a_deployment_no_command_of_it_is_named() -> None:
    assert "ramp logs" not in card(failed(traceback("ValueError: x")), Subject("a"))


def test_a_card_stays_short_whatever_was_raised() -> None:
    told = card(failed(traceback("ValueError: " + "x" * 100_000)), SUBJECT)
    assert max(map(len, told.splitlines())) <= MAX_LINE
    assert told.splitlines()[0].endswith("(estimator.py, line 7)")
