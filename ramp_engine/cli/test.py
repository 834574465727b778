"""``ramp test``: a submission evaluated at home, in the kit's folder."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ramp_engine.cli import edge

if TYPE_CHECKING:
    from ramp_engine.alone import Report
    from ramp_engine.config import EventConfig


@click.command()
@click.option("--submission", default="starting_kit", show_default=True, help="Its name.")
@click.option(
    "--save-output", is_flag=True, help="Keep predictions and scores in its training_output/."
)
@click.option(
    "--kit-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder with problem.py, data and submissions.  [default: this one]",
)
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that holds data/.  [default: the kit's]",
)
@click.option("--data-label", help="Which of the kit's data sets.")
@click.option(
    "--python", help="Interpreter with ramp-workflow.  [default: the event's, or python on PATH]"
)
def test(
    submission: str,
    save_output: bool,
    kit_dir: Path,
    data_dir: Path | None,
    data_label: str | None,
    python: str | None,
) -> int:
    """Evaluate a submission of a kit with its public data, as the server does with its own."""
    from ramp_engine import logs
    from ramp_engine.alone import evaluate_alone
    from ramp_engine.cli.report import print_report

    logs.configure(0)
    if not (kit_dir / "problem.py").is_file():
        raise click.UsageError(f"there is no problem.py in {kit_dir.resolve()}; see --kit-dir")
    with tempfile.TemporaryDirectory(prefix="ramp-test-") as scratch:
        event = _home_event(kit_dir, data_dir, data_label, python, Path(scratch))
        report = evaluate_alone(event, submission)
        log = report.log_path.read_bytes() if report.log_path.is_file() else b""
        sys.stderr.buffer.write(log)
        print_report(report)
        if save_output:
            _save(report, kit_dir / "submissions" / submission / "training_output", data_label)
    return 0 if report.results is not None else edge.EXIT_FAILED


def _home_event(
    kit_dir: Path,
    data_dir: Path | None,
    data_label: str | None,
    python: str | None,
    scratch: Path,
) -> EventConfig:
    import yaml

    from ramp_engine.config import load_event

    kit = kit_dir.resolve()
    ramp = {"problem_name": "home", "event_name": "home", "kit_dir": str(kit)}
    ramp |= {"data_dir": str((data_dir or kit_dir).resolve()), "work_dir": str(scratch / "work")}
    if data_label is not None:
        ramp["data_label"] = data_label
    worker = {"worker_type": "local", "python": python or _python_with_ramp_workflow(kit)}
    path = scratch / "config.yml"
    path.write_text(yaml.safe_dump({"ramp": ramp, "worker": worker}), encoding="utf-8")
    return load_event(path)


def _python_with_ramp_workflow(kit: Path) -> str:
    """Find an interpreter: the event's own, this one, or that of an active environment."""
    import subprocess

    look = "import importlib.util as u, sys; sys.exit(not u.find_spec('rampwf'))"
    made = kit.parent / "work" / "env" / "bin" / "python"
    named = (made, sys.executable, shutil.which("python"), shutil.which("python3"))
    for name in [str(name) for name in named if name is not None and Path(name).exists()]:
        if subprocess.run([name, "-c", look], capture_output=True, check=False).returncode == 0:
            return name
    raise click.UsageError(
        "no Python with ramp-workflow was found: activate the kit's environment, "
        "or name its interpreter with --python"
    )


def _save(report: Report, target: Path, data_label: str | None) -> None:
    if report.results is None:
        return
    if data_label is not None:
        target = target / data_label
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(report.output_dir, target)
    click.echo(f"predictions and scores are in {target}", err=True)
