"""Run all benchmarks, one after the other, and write what they found.

::

    python -m benchmarks [--full] [--only NAME ...] [--output FOLDER]

``RESULTS.md`` and ``results.json`` are written into the folder, ``benchmarks`` by default; what
``results.json`` knows of benchmarks that are not run now is kept, with its date and commit. A
benchmark that fails, or takes longer than its time limit, does not keep the others from running;
the exit code then is 1. An aim that is missed is told and changes nothing: what is measured depends
on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import commit_of, describe_machine, today
from benchmarks.report import aims_of, render

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Benchmark:
    """A module, what it is called with, and how long it may take [s]."""

    options: tuple[str, ...] = ()
    full_options: tuple[str, ...] = ()
    seconds: float = 300.0
    full_seconds: float = 3600.0


BENCHMARKS = {
    "throughput": Benchmark(("--quick",), ("--repeat", "3"), 600.0),
    "latency": Benchmark(),
    "folds": Benchmark(("--repeat", "2"), ("--repeat", "5")),
    "scale": Benchmark((), ("--full",)),
    "memory": Benchmark((), ("--full",), 600.0, 7200.0),
    "dispatch": Benchmark(),
    "sandbox": Benchmark(),
    "remote": Benchmark((), ("--repeat", "3"), 1800.0, 7200.0),
    "scale_nodes": Benchmark((), ("--nodes", "20", "200", "1000")),
    "aws": Benchmark(("--instances", "10"), (), 600.0),
}


@dataclass
class Outcome:
    """What came of one benchmark."""

    seconds: float
    output: str  #: what it has printed
    figures: Any = None  #: None: it has failed
    failure: str = ""
    aims: list[dict[str, Any]] = field(default_factory=list)
    date: str = ""  #: of the day on which it ran
    commit: str = ""  #: what was measured
    is_full: bool = False


def run(name: str, benchmark: Benchmark, *, is_full: bool) -> Outcome:
    """Run one to its end, or to its time limit; it takes its processes with it."""
    options = benchmark.full_options if is_full else benchmark.options
    limit = benchmark.full_seconds if is_full else benchmark.seconds
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ramp-benchmark-") as folder:
        Path(folder).chmod(0o755)  # for those that are confined as another user
        found = Path(folder, "figures.json")
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(found), *options]
        process = subprocess.Popen(
            command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "TMPDIR": folder},
        )  # fmt: skip
        output, failure = _await(process, limit)
        outcome = Outcome(
            seconds=round(time.monotonic() - started_at, 1),
            output=output.strip(),
            failure=failure,
            is_full=is_full,
            date=today(),
            commit=commit_of(HERE.parent),
        )
        if not failure:
            outcome.figures = json.loads(found.read_text())
            try:
                outcome.aims = aims_of(name, outcome.figures)
            except (KeyError, TypeError, AttributeError) as error:
                outcome.failure = f"its figures cannot be held against its aims: {error!r}"
    return outcome


def _await(process: subprocess.Popen[str], limit: float) -> tuple[str, str]:
    """Return what it prints, and why it has failed."""
    try:
        output = process.communicate(timeout=limit)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it ends what it has started
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0], f"took longer than {limit:.0f} s"
    return output, f"ended with code {process.returncode}" if process.returncode else ""


def read(folder: Path) -> dict[str, Outcome]:
    """Read what is known of earlier runs."""
    try:
        found = json.loads((folder / "results.json").read_text())["benchmarks"]
    except FileNotFoundError:
        return {}
    return {name: Outcome(**found[name]) for name in BENCHMARKS if name in found}


def write(folder: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Write both files."""
    machine = describe_machine()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "RESULTS.md").write_text(render(machine, outcomes))
    found = {name: asdict(outcome) for name, outcome in outcomes.items()}
    content = {"machine": machine, "benchmarks": found}
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="With repetitions and the million rows."
    )
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--output", type=Path, default=HERE, help="Folder for the results.")
    options = parser.parse_args()
    outcomes = {}
    for name in options.only:
        print(f"== {name}", flush=True)
        outcomes[name] = run(name, BENCHMARKS[name], is_full=options.full)
        print(outcomes[name].output, outcomes[name].failure, f"{outcomes[name].seconds:.0f} s\n")
    known = read(options.output) | outcomes
    write(options.output, {name: known[name] for name in BENCHMARKS if name in known})
    return 1 if any(outcome.failure for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
