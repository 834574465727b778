"""``ramp setup``: deployments, events and their environments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ramp_engine.cli import options

if TYPE_CHECKING:
    from ramp_engine.config import EventConfig
    from ramp_engine.deployment import Deployed


@click.group()
def setup() -> None:
    """Set up a deployment, its events and their environments."""


@setup.command(short_help="Make a deployment: config.yml, events/.")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=Path())
def init(directory: Path) -> None:
    """Make a deployment in DIRECTORY: a config.yml and a folder for events.

    What is there already stays as it is.
    """
    from ramp_engine.cli import skeleton

    _tell_written(skeleton.write(skeleton.DEPLOYMENT, directory), directory / "config.yml")
    (directory / "events").mkdir(exist_ok=True)
    click.echo("Next: ramp setup init-event --name NAME")


@setup.command("init-event", short_help="Make an event: its config.yml and a small kit.")
@options.config_option
@click.option("--name", required=True, help="Name of the event; it becomes events/NAME.")
@click.option("--problem", help="Name of the problem.  [default: that of the event]")
def init_event(config: Path | None, name: str, problem: str | None) -> None:
    """Make an event: its config.yml, and a small kit that works.

    A kit in ramp-kits/PROBLEM is used where there is one. What is there already stays as it is.
    """
    from ramp_engine.cli import skeleton

    deployment = options.deployment_dir(config) or Path()
    directory = deployment / "events" / _checked_name(name, "--name")
    problem = _checked_name(problem or name, "--problem")
    has_kit = (deployment / "ramp-kits" / problem).is_dir()
    files = skeleton.EVENT | ({} if has_kit else skeleton.KIT)
    written = skeleton.write(files, directory, event=name, problem=problem)
    _tell_written(written, directory / "config.yml")
    event_config = directory / "config.yml"
    click.echo(f"Next: ramp setup create-env --event-config {event_config}")
    click.echo(f"      ramp setup deploy-event --event-config {event_config}")


@setup.command("init-worker", short_help="Make a package with a worker of your own.")
@click.argument("name")
@click.option(
    "--path",
    type=click.Path(path_type=Path),
    help="Folder of the package.  [default: ramp-worker-NAME]",
)
def init_worker(name: str, path: Path | None) -> None:
    """Make a package with a worker for the platform NAME, ready to be installed.

    It works as it is, on this machine, and its tests pass; comments say where the calls of the
    platform go.
    """
    from ramp_engine.cli import skeleton
    from ramp_engine.registry import known_workers

    try:
        names = skeleton.WorkerNames.of(name, known_workers())
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    directory = path or Path(names.distribution)
    if directory.exists():
        reason = f"{directory} is there already; name a folder that is not, with --path"
        raise click.BadParameter(reason, param_hint="--path")
    for written in skeleton.write(names.files, directory, **names.words):
        click.echo(f"wrote {written}")
    click.echo(f"Next: pip install --editable '{directory}[test]'")
    click.echo(f"      pytest {directory}")
    click.echo(f"      ramp workers {names.name}")


@setup.command("deploy-event")
@options.config_option
@options.event_config_option
@click.option("--force", is_flag=True, help="Deploy again what has changed since.")
@click.option("--new-folds", is_flag=True, help="With --force: have the kit draw its folds anew.")
def deploy_event(config: Path | None, event_config: Path, force: bool, new_folds: bool) -> None:
    """Make an event ready for submissions.

    Its data are prepared, its folds drawn, its bundle made, and all of it is recorded in the
    database. Again with --force, the scores that there are stay; the folds too, unless the data
    have changed or --new-folds asks for others.
    """
    from ramp_engine.deployment import deploy

    event = options.load_event(event_config, config, is_checking_hooks=True)
    database = options.open_database(config)
    deployed = deploy(database, event, is_forced=force, is_drawing_folds=new_folds)
    _tell_deployed(event, deployed)
    database.dispose()


@setup.command("create-env", short_help="Make the event's Python environment.")
@options.config_option
@options.event_config_option
def create_env(config: Path | None, event_config: Path) -> None:
    """Make the event's Python environment from the kit's requirements.txt.

    It is made again when they have changed, and left alone otherwise.
    """
    from ramp_engine import environments

    event = options.load_event(event_config, config)
    given = event.worker.get("python") or event.worker.get("conda_env")
    if given:
        click.echo(f"note: the section `worker` names {given}, which is used instead", err=True)
    python = environments.create_env(
        event.ramp.kit_dir / "requirements.txt",
        environments.default_prefix(event.ramp.work_dir),
        on_making=_tell_making,
    )
    click.echo(f"the environment of {event.ramp.event_name} is ready: {python}")


@setup.command("create-conda-env", short_help="Make the event's Conda environment.")
@options.config_option
@options.event_config_option
def create_conda_env(config: Path | None, event_config: Path) -> None:
    """Make the event's Conda environment from the kit's environment.yml."""
    from ramp_engine import environments

    event = options.load_event(event_config, config)
    arguments = _conda_arguments(event, "create")
    _tell_making(arguments[-1])
    prefix = environments.create_conda_env(*arguments)
    click.echo(f"the environment of {event.ramp.event_name} is ready: {prefix}")


@setup.command("update-conda-env", short_help="Update the event's Conda environment.")
@options.config_option
@options.event_config_option
def update_conda_env(config: Path | None, event_config: Path) -> None:
    """Bring the event's Conda environment up to the kit's environment.yml."""
    from ramp_engine import environments

    event = options.load_event(event_config, config)
    arguments = _conda_arguments(event, "update")
    _tell_making(arguments[-1])
    prefix = environments.update_conda_env(*arguments)
    click.echo(f"the environment of {event.ramp.event_name} is up to date: {prefix}")


_FOLDS_STAY = "the folds stay as they were drawn first; --force --new-folds draws others"

_LABELS_ARE_HIDDEN = (
    "the labels of each fold's validation part are hidden from it; the starting kit should score "
    "as it does without them hidden:\n"
    "  ramp launch worker --submission starting_kit --event-config {path}"
)


def _tell_making(log_path: Path) -> None:
    text = f"making the environment, which may take minutes; progress is in {log_path}"
    click.echo(text, err=True)


def _tell_deployed(event: EventConfig, deployed: Deployed) -> None:
    name, prepared = event.ramp.event_name, deployed.prepared
    if deployed.limit_changes:
        click.echo(f"limits of {name} changed: {', '.join(deployed.limit_changes)}")
    if deployed.limit_changes and not deployed.changes:
        return
    if not deployed.is_new and not deployed.changes:
        click.echo(f"{name} is already deployed, nothing has changed")
        return
    if deployed.changes:
        click.echo(f"{name} is deployed again; changed: {', '.join(deployed.changes)}")
        click.echo("scores that there are stay; they were made with what was there before")
        if deployed.lost_score_types:
            gone = ", ".join(deployed.lost_score_types)
            click.echo(f"but those of {gone}, gone from the kit, are deleted")
        click.echo("the folds were drawn anew" if deployed.has_new_folds else _FOLDS_STAY)
    else:
        click.echo(f"{name} is deployed: {prepared.problem_title}")
    n_test = "no" if prepared.n_test is None else prepared.n_test
    measures = ", ".join(str(one["name"]) for one in prepared.score_types)
    click.echo(
        f"{prepared.n_train} rows for training in {len(prepared.folds)} folds, "
        f"{n_test} labelled rows for testing; scored by {measures}"
    )
    if event.evaluation.hide_validation_labels:
        click.echo(_LABELS_ARE_HIDDEN.format(path=event.path))
    click.echo(f"a submission must bring {', '.join(prepared.required_files)}")


def _conda_arguments(event: EventConfig, action: str) -> tuple[Path, str, Path]:
    name = event.worker.get("conda_env") or event.evaluation.conda_env
    if not name:
        raise click.UsageError(f"{event.path} names no conda_env in its section `worker`")
    files = [event.ramp.kit_dir / f"{kind}environment.yml" for kind in ("", "ami_")]
    found = next((path for path in files if path.is_file()), files[0])
    return found, str(name), event.ramp.work_dir / f"{action}-conda-env.log"


def _checked_name(name: str, option: str) -> str:
    from ramp_engine.config_sections import NAME_WORDS, is_name

    if not is_name(name):
        raise click.BadParameter(f"expected {NAME_WORDS}, found {name!r}", param_hint=option)
    return name


def _tell_written(written: list[Path], first: Path) -> None:
    for path in written:
        click.echo(f"wrote {path}")
    if first not in written:
        click.echo(f"{first} is there already and stays as it is", err=True)
