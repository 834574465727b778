"""The commands: arguments, exit codes, and the result file.

Exit codes: 0 done, 1 the participant's failure, 2 usage, 3 the kit, the data or the environment
is at fault, 70 a bug of ours, 143 ended on request (SIGTERM). The result is one JSON file,
written atomically.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from . import interpreter
from .failure import KitError, PredictionsError, one_line
from .limits import Sandbox, parse_sandbox
from .plan import ConfinementError
from .preload import compiled, uncollected

if TYPE_CHECKING:
    from .fold import Inputs

EXIT_DONE = 0
EXIT_PARTICIPANT = 1
EXIT_USAGE = 2
EXIT_KIT = 3
EXIT_BUG = 70
#: The run was ended on request: 128 + SIGTERM.
EXIT_STOPPED = 143


def main(argv: Optional[Sequence[str]] = None, held: Optional[Inputs] = None) -> int:
    """Run one command and write its result.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.
    held : Inputs, optional
        What this process has read of the bundle before; for ``fold``.

    Returns
    -------
    int
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    sys.dont_write_bytecode = True  # neither a bundle nor a submission is written to
    os.environ["TERM"] = "dumb"  # ramp-workflow prints in colour otherwise, and this is for a log
    _print_anything()
    arguments.held = held
    result, code = _run(arguments)
    write_result(arguments.result, result)
    return code


def _run(arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
    try:
        _protect_interpreter(arguments)
        _check_environment()
        return _COMMANDS[arguments.command](arguments)
    except KitError as error:
        print(f"{error.trace}\n{error.message}\n{error.hint}".strip(), file=sys.stderr)
        return {"error": error.to_json()}, EXIT_KIT
    except PredictionsError as error:
        print(error.message, file=sys.stderr)
        return {"error": error.to_json()}, EXIT_PARTICIPANT
    except Exception as error:  # noqa: BLE001 (the edge of the program)
        traceback.print_exc()
        return {"error": {"message": f"bug in the evaluation: {one_line(error)}"}}, EXIT_BUG


def _protect_interpreter(arguments: argparse.Namespace) -> None:
    sandbox: Optional[Sandbox] = getattr(arguments, "sandbox", None)
    if sandbox is None or sandbox.level != "namespaces" or arguments.held is not None:
        return  # or this process was forked from a server, which has done so
    try:
        interpreter.protect(sandbox.uid)
    except ConfinementError as error:
        raise KitError(f"the fold cannot be confined: {error}", error.hint) from error


def _check_environment() -> None:
    try:
        with uncollected():
            import numpy as np  # noqa: F401
            import rampwf  # noqa: F401
    except (ImportError, AttributeError) as error:  # the latter: versions that do not match
        raise KitError(
            f"the event's environment ({sys.prefix}) cannot import ramp-workflow: {error}",
            "Name ramp-workflow in the kit's requirements.txt (or environment.yml) and make the "
            "environment anew.",
        ) from error


def _prepare(arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
    with compiled():
        from .prepare import prepare

    result = prepare(
        arguments.kit,
        arguments.data,
        arguments.bundles_dir,
        arguments.data_label,
        arguments.folds,
        arguments.hide_validation_labels,
    )
    return result, EXIT_DONE


def _fold(arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
    with compiled():
        from .fold import FoldRun, run_folds
        from .stopping import StoppedError

    run = FoldRun(
        bundle=arguments.bundle,
        submission=arguments.submission,
        output=arguments.output,
        scratch=arguments.scratch,
        private_log=arguments.private_log,
        sandbox=arguments.sandbox,
        checkpoint=arguments.checkpoint,
    )
    try:
        folds = run_folds(run, arguments.folds, arguments.held, arguments.jobs)
    except StoppedError as stopped:
        return {"folds": stopped.results}, EXIT_STOPPED
    is_done = all(fold["state"] == "tested" for fold in folds)
    return {"folds": folds}, EXIT_DONE if is_done else EXIT_PARTICIPANT


def _serve(arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
    with compiled():
        from .server import serve

    return serve(arguments.step, arguments.bundle, arguments.socket), EXIT_DONE


def _score(arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
    with compiled():
        from .saving import Saving
        from .score import score, score_folds

    if arguments.folds is not None:
        given = (arguments.labels, arguments.data, arguments.predictions, arguments.folds)
        return score_folds(*given, arguments.kit), EXIT_DONE
    saving = Saving(arguments.keep_test_only, not arguments.no_compression)
    places = (arguments.labels, arguments.data, arguments.predictions, arguments.output)
    result = score(*places, arguments.kit, saving)
    return result, EXIT_DONE


def _blend(arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
    with compiled():
        from .blend import blend, read_candidates

    candidates = read_candidates(arguments.submissions)
    result = blend(
        arguments.labels,
        arguments.data,
        candidates,
        arguments.cache,
        arguments.output,
        arguments.min_improvement,
    )
    return result, EXIT_DONE


_COMMANDS = {
    "prepare": _prepare,
    "fold": _fold,
    "serve": _serve,
    "score": _score,
    "blend": _blend,
}


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result file in one step: it is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def _print_anything() -> None:
    """Let no character of anybody's message break our own printing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


@lru_cache(maxsize=None)  # a server has made it for its children
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    prepare = commands.add_parser("prepare", help="write the bundle of an event")
    _add_paths(prepare, "kit", "data", "bundles_dir", "result")
    _add_paths(prepare, "folds", required=False)
    prepare.add_argument("--data-label", metavar="LABEL")
    prepare.add_argument("--hide-validation-labels", action="store_true")
    fold = commands.add_parser("fold", help="train and predict")
    _add_paths(fold, "bundle", "submission", "output", "scratch", "private_log", "result")
    fold.add_argument("--folds", type=_numbers, metavar="0,1,...")
    fold.add_argument("--jobs", type=_count, default=1, metavar="N", help="folds at a time")
    fold.add_argument("--sandbox", type=_sandbox, metavar="JSON", help="level and limits")
    _add_paths(fold, "checkpoint", required=False)
    serve = commands.add_parser("serve", help="fork a step for each request")
    serve.add_argument("--sandbox", type=_sandbox, metavar="JSON", help="level, and who runs in it")
    serve.add_argument("--step", choices=["fold", "score"], required=True)
    _add_paths(serve, "bundle", "result")
    serve.add_argument("--socket", type=int, required=True, metavar="N", help="descriptor")
    score = commands.add_parser("score", help="score predictions")
    _add_paths(score, "bundle", "labels", "data", "predictions", "output", "result")
    _add_paths(score, "kit", required=False)
    score.add_argument("--folds", type=_numbers, metavar="0,1,...", help="these only, not combined")
    score.add_argument("--keep-test-only", action="store_true", help="no predictions of training")
    score.add_argument("--no-compression", action="store_true", help="of predictions kept")
    blend = commands.add_parser("blend", help="blend scored submissions")
    _add_paths(blend, "labels", "data", "submissions", "cache", "output", "result")
    blend.add_argument("--min-improvement", type=float, default=0.0, metavar="SCORE")
    return parser


def _add_paths(parser: argparse.ArgumentParser, *names: str, required: bool = True) -> None:
    for name in names:
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=_path, required=required, metavar="PATH")


def _path(text: str) -> Path:
    return Path(text).absolute()


def _sandbox(text: str) -> Sandbox:
    try:
        return parse_sandbox(text)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{count} is not a positive number")
    return count


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]
