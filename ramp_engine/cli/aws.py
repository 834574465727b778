"""``ramp aws``: the instances on EC2 that events have, and those that nobody answers for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ramp_engine.cli import edge, options
from ramp_engine.cli.table import number, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ramp_database.session import Database
    from ramp_engine.aws.reaper import Reaped, Reaper, Tenancy
    from ramp_engine.reaping import Place, Witness

#: A dispatcher that has missed so many heartbeats while we look is dead.
_MISSED_BEATS = 3

_event_config = click.option(
    "--event-config",
    type=click.Path(path_type=Path),
    help="An event's config.yml.  [default: every deployed event that runs on EC2]",
)


@dataclass(frozen=True)
class _Estate:
    """What an event has at EC2."""

    name: str
    place: Place
    config: dict[str, Any]  #: as `BaseWorker.reap` gets it


@click.group()
def aws() -> None:
    """Look after the instances on EC2."""


@aws.command("list")
@options.config_option
@_event_config
@options.json_option
def list_instances(config: Path | None, event_config: Path | None, as_json: bool) -> int:
    """List the instances of events, whose they are, and what they have cost."""
    database = options.open_database(config)
    shown: list[dict[str, Any]] = []

    def look(estate: _Estate) -> None:
        reaper, _ = _reaper(database, estate, 0.0)
        shown.extend(_facts(estate, reaper, one) for one in reaper.look())

    code = _each(_estates(database, config, event_config), look)
    if as_json:
        options.echo_json(shown)
    elif shown:
        rows = [_cells(facts) for facts in shown]
        print_table([name.replace("_", " ") for name in _SHOWN], rows, right={5, 8})
    elif not code:
        click.echo("no instance of an event is there", err=True)
    return code


@aws.command()
@options.config_option
@_event_config
@click.option("--dry-run", is_flag=True, help="Only tell what would be ended.")
def reap(config: Path | None, event_config: Path | None, dry_run: bool) -> int:
    """Terminate the instances and cancel the spot requests that nobody answers for.

    Dispatchers and the daemon do the same, about once a minute.
    """
    database = options.open_database(config)
    n_failed = 0

    def end(estate: _Estate) -> None:
        nonlocal n_failed
        reaped = _patiently(database, estate).reap(is_dry_run=dry_run)
        _tell(estate.name, reaped, "would be " if dry_run else "")
        n_failed += len(reaped.failed)

    code = _each(_estates(database, config, event_config), end)
    return code or (edge.EXIT_PARTLY if n_failed else 0)


def _each(estates: Iterator[_Estate | str], work: Callable[[_Estate], None]) -> int:
    """Do something for each event; a trouble with one is told, and harms no other."""
    from ramp_engine.errors import WorkerError

    n_done = n_failed = 0
    for estate in estates:
        trouble = estate if isinstance(estate, str) else ""
        if isinstance(estate, _Estate):
            try:
                work(estate)
            except WorkerError as error:
                trouble = f"{estate.name}: {error}"
        if trouble:
            click.echo(options.visible(trouble), err=True)
        n_failed += bool(trouble)
        n_done += not trouble
    if not n_failed:
        return 0
    return edge.EXIT_PARTLY if n_done else edge.EXIT_FAILED


def _estates(
    database: Database, config: Path | None, event_config: Path | None
) -> Iterator[_Estate | str]:
    """Find the events that run on EC2; for one whose file cannot be read, why."""
    from ramp_database import events
    from ramp_engine.errors import RampError
    from ramp_engine.reaping import Place, reap_config

    if event_config is not None:
        place = Place.read(event_config, options.deployment_dir(config))
        if not _is_on_ec2(place):
            raise click.UsageError(f"the worker of {event_config} does not run on EC2")
        name = place.event.ramp.event_name
        yield _Estate(name, place, reap_config(database, place.event))
        return
    with database.session(read_only=True) as session:
        found = [(row.name, Path(row.config_path)) for row in events.list_events(session)]
    for name, path in found:
        try:
            place = Place.read(path, options.deployment_dir(config))
            keys = reap_config(database, place.event)
        except (RampError, OSError) as error:
            yield f"{name} is left out: {error}"
        else:
            if _is_on_ec2(place):
                yield _Estate(name, place, keys)


def _is_on_ec2(place: Place) -> bool:
    from ramp_engine.aws.config import AWSWorkerConfig

    model = place.worker_class.config_model
    return model is not None and issubclass(model, AWSWorkerConfig)


def _reaper(database: Database, estate: _Estate, patience_seconds: float) -> tuple[Reaper, Witness]:
    from ramp_engine.aws.reaper import Reaper
    from ramp_engine.reaping import Witness

    witness = Witness(database, estate.place.event, patience_seconds=patience_seconds)
    return Reaper(estate.config, witness.is_live), witness


def _patiently(database: Database, estate: _Estate) -> Reaper:
    """Make a reaper that takes no dispatcher for dead only since the database was away."""
    seconds = _MISSED_BEATS * estate.place.event.dispatcher.heartbeat_seconds
    reaper, witness = _reaper(database, estate, seconds)
    reaper.look()
    if witness.silent:
        numbers = ", ".join(map(str, witness.silent))
        told = f"{estate.name}: silent dispatchers ({numbers}) get {seconds:g} s for a sign of life"
        click.echo(told, err=True)
        time.sleep(seconds)
    return reaper


def _tell(event: str, reaped: Reaped, would: str) -> None:
    for one in reaped.instances:
        whose = f"submission {_submission(one)} of dispatcher {_dispatcher(one)}"
        click.echo(f"{event}: {one.instance.id} {would}terminated ({whose})")
    for id_ in reaped.spot_requests:
        click.echo(f"{event}: {id_} {would}cancelled")
    for id_, reason in reaped.failed.items():
        click.echo(options.visible(f"{event}: {id_} could not be ended: {reason}"), err=True)
    if not (reaped.instances or reaped.spot_requests or reaped.failed):
        click.echo(f"{event}: nothing to end", err=True)


def _submission(one: Tenancy) -> str:
    return f"{one.owner.submission}-{one.owner.attempt}" if one.owner else "-"


def _dispatcher(one: Tenancy) -> str:
    return str(one.owner.dispatcher) if one.owner else "-"


#: What is shown of an instance in columns.
_SHOWN = ("event", "instance", "type", "spot", "state", "age", "owner", "submission", "cost")


def _facts(estate: _Estate, reaper: Reaper, one: Tenancy) -> dict[str, Any]:
    """Give what is known of an instance, ready for JSON; cost in the unit of the prices."""
    seconds = _seconds_since(one.instance.launched_at)
    price = reaper.settings.price(one.instance.kind, is_spot=one.instance.is_spot)
    owner = one.owner
    return {
        "event": estate.name,
        "instance": one.instance.id,
        "type": one.instance.kind,
        "spot": one.instance.is_spot,
        "state": one.instance.state,
        "age_seconds": round(seconds),
        "dispatcher": owner and owner.dispatcher,
        "is_live": one.is_live,
        "submission": owner and owner.submission,
        "attempt": owner and owner.attempt,
        "cost": None if price is None else round(price * seconds / 3600, 4),
    }


def _seconds_since(moment: datetime) -> float:
    from datetime import UTC, datetime

    return max(0.0, (datetime.now(UTC) - moment).total_seconds())


def _cells(facts: dict[str, Any]) -> list[str]:
    hours, seconds = divmod(facts["age_seconds"], 3600)
    owner = "nobody" if facts["dispatcher"] is None else f"dispatcher {facts['dispatcher']}"
    submission = f"{facts['submission']}-{facts['attempt']}" if facts["submission"] else "-"
    return [
        facts["event"],
        facts["instance"],
        facts["type"],
        "yes" if facts["spot"] else "no",
        facts["state"],
        f"{hours}:{seconds // 60:02}",
        f"{owner}, {'alive' if facts['is_live'] else 'dead'}",
        submission,
        number(facts["cost"], 2),
    ]
