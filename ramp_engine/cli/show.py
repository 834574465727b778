"""``ramp status``, ``ramp leaderboard`` and ``ramp logs``: what there is to see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ramp_engine.cli import options
from ramp_engine.cli.table import number, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ramp_database.leaderboard import LeaderboardRow
    from ramp_database.model import EventBlend


#: So many rows are on a page of the leaderboard.
_PAGE_ROWS = 50
#: Keys of the section `worker` that limit what an event may use.
_BUDGET_KEYS = ("max_instance_hours", "max_cost")


@click.command()
@options.config_option
@click.option("--event", "event_name", help="Name of the event.  [default: every event]")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Show so many submissions, the newest.  [default: all]",
)
@options.json_option
def status(config: Path | None, event_name: str | None, limit: int | None, as_json: bool) -> None:
    """Show the submissions of an event, their states, and why some failed.

    The states count all submissions, whatever is shown.
    """
    from ramp_database import events
    from ramp_database.status import event_status

    database = options.open_database(config)
    with database.session(read_only=True) as session:
        if event_name is None:
            rows = events.list_events(session)
        else:
            rows = [events.get_event(session, event_name)]
        found = [event_status(session, row.id, limit) for row in rows]
    for one, row in zip(found, rows, strict=True):
        one["usage"] = _usage(Path(row.config_path), config)
    if as_json:
        options.echo_json(found[0] if event_name else found)
        return
    if not found:
        click.echo("no event is deployed: start with `ramp setup init-event --name NAME`", err=True)
    for one in found:
        _print_status(one)


def _usage(event_config: Path, config: Path | None) -> str | None:
    """Ask the worker of an event what of its budget is used; None: nothing is to be told.

    To import a worker takes a while: only where the event has a budget.
    """
    from ramp_database.config_file import read
    from ramp_database.errors import RampError

    try:
        worker = read(event_config).data.get("worker")
        if not isinstance(worker, dict) or worker.keys().isdisjoint(_BUDGET_KEYS):
            return None
        from ramp_engine.reaping import Place

        place = Place.read(event_config, options.deployment_dir(config))
        return place.worker_class.usage(place.event.worker_config())
    except (RampError, OSError):  # `ramp doctor` and `ramp config check` tell what is wrong
        return None


@click.command()
@options.config_option
@click.option("--event", "event_name", required=True, help="Name of the event.")
@click.option("--private", is_flag=True, help="Rank by the test scores, and show them.")
@click.option("--best-per-team", is_flag=True, help="Show only the best submission of each team.")
@click.option("--limit", type=click.IntRange(min=1), help="Show so many rows.  [default: all]")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Leave out so many rows.")
@click.option(
    "--page",
    type=click.IntRange(min=1),
    help=f"Show this page, from 1, of --limit rows.  [default: of {_PAGE_ROWS}]",
)
@options.json_option
def leaderboard(
    config: Path | None,
    event_name: str,
    private: bool,
    best_per_team: bool,
    limit: int | None,
    offset: int,
    page: int | None,
    as_json: bool,
) -> None:
    """Rank the scored submissions of an event.

    The public leaderboard shows validation scores. The private one ranks by test scores and shows
    both. What each contributes to the blend of all, in percent, is shown once `ramp database
    compute-contributivity` has computed it.
    """
    from ramp_database import blends, events
    from ramp_database.leaderboard import leaderboard as rank

    if page is not None and offset:
        raise click.UsageError("give either --page or --offset")
    if page is not None:
        limit = limit or _PAGE_ROWS
        offset = (page - 1) * limit
    database = options.open_database(config)
    with database.session(read_only=True) as session:
        event = events.get_event(session, event_name)
        rows = rank(
            session,
            event.id,
            private=private,
            best_per_team=best_per_team,
            limit=limit,
            offset=offset,
        )
        precisions = {kind.name: kind.precision for kind in event.score_types}
        blend = blends.read(session, event.id)
    if as_json:
        options.echo_json([row.to_json() for row in rows])
    else:
        _print_leaderboard(
            rows,
            precisions,
            event_name,
            is_private=private,
            has_blend=blend is not None,
            is_later=offset > 0,
        )
        if blend is not None:
            _tell_blend(blend, precisions, is_private=private)


@click.command()
@options.config_option
@click.argument("submission_id", type=int)
@click.option("--private", is_flag=True, help="Show the organisers' log: what testing printed.")
@click.option("--follow", is_flag=True, help="Print it while it grows, until it has ended.")
@options.event_config_hint
def logs(
    config: Path | None,
    submission_id: int,
    private: bool,
    follow: bool,
    event_config: Path | None,
) -> None:
    """Print what a submission printed while it was trained."""
    from ramp_database import submissions
    from ramp_engine.cli.follow import Follower
    from ramp_engine.run import submission_log

    if follow and private:
        raise click.UsageError("the organisers' log is there when the run has ended: no --follow")
    database = options.open_database(config)
    with database.session(read_only=True) as session:
        row = submissions.get(session, submission_id)
        event = options.load_event_of(row.event, event_config, config)
        state, error = row.state, row.error
    if follow:
        Follower(database, event, submission_id).run()
        return
    path = submission_log(event, submission_id)
    if private:
        path = path.with_name("private.log")
    if not path.is_file():
        raise click.ClickException(
            f"submission {submission_id} is {state!r} and has no log yet ({path})"
        )
    options.echo_file(path)
    if error:
        click.echo(f"\n{state}: {options.visible(error.strip())}", err=True)


def _print_status(found: dict[str, Any]) -> None:
    from rich.markup import escape

    from ramp_engine.narrative import summary
    from ramp_engine.prospects import partial_scores

    states = ", ".join(f"{n} {state}" for state, n in found["states"].items()) or "no submissions"
    options.console().print(f"[bold]{escape(found['event'])}[/]: {states}")
    columns = ["id", "team", "submission", "state", "attempt"]
    rows = [[str(row[name]) for name in _SHOWN] for row in found["submissions"]]
    has_errors = any(row["error"] for row in found["submissions"])
    if has_errors:
        columns.append("error")
        for cells, row in zip(rows, found["submissions"], strict=True):
            cells.append(_cut(summary(row["error"] or "")))
    if rows:
        print_table(columns, rows, right={0, 4})
    for row in found["submissions"]:
        if row["partial"] is not None:
            who = f"submission {row['id']} ({row['team']}/{row['name']})"
            click.echo(options.visible(f"{who}: {partial_scores(row['partial'])}"))
    if found["usage"]:
        click.echo(options.visible(f"budget: {found['usage']}"))
    _print_waiting([row for row in found["submissions"] if row["waiting_reason"]])
    if has_errors:
        told = "The whole of an error: `ramp explain ID`; what a submission printed: `ramp logs ID`"
        click.echo(told, err=True)


def _cut(text: str) -> str:
    """Make what somebody else wrote fit for a cell of a table."""
    line = options.visible(text, keep="")
    return line if len(line) <= _LONGEST_CELL else f"{line[: _LONGEST_CELL - 1]}…"


#: What the status shows of a submission in columns.
_SHOWN = ("id", "team", "name", "state", "attempt")
_LONGEST_CELL = 100

_REASONS = {
    "no_dispatcher": "no dispatcher is running: start one with `ramp launch dispatcher`",
    "delayed": "not before {not_before} ({attempt_error})",
    "starting": "about to start",
    "teams_turn": "other teams' turn",
    "no_free_slot": "no free slot",
}


def _print_waiting(rows: list[dict[str, Any]]) -> None:
    """Tell of those that wait why, and from when to when they are expected to run."""
    from ramp_engine.narrative import summary

    for row in sorted(rows, key=lambda row: (row["queue_place"] is None, row["queue_place"])):
        place = f"place {row['queue_place']}" if row["queue_place"] else "waits"
        reason = _REASONS[row["waiting_reason"]].format(
            not_before=_time(row["not_before"]), attempt_error=summary(row["attempt_error"] or "")
        )
        text = f"submission {row['id']} ({row['team']}/{row['name']}): {place}, {reason}"
        if row["expected_start_at"]:
            text += f", expected {_time(row['expected_start_at'])}"
            text += f" to {_time(row['expected_end_at'])}"
        click.echo(options.visible(text))


def _time(iso: str | None) -> str:
    """Write a time of the status for people."""
    return f"{iso[:19].replace('T', ' ')} UTC" if iso else ""


def _print_leaderboard(
    rows: Sequence[LeaderboardRow],
    precisions: dict[str, int],
    event_name: str,
    *,
    is_private: bool,
    has_blend: bool,
    is_later: bool,
) -> None:
    if not rows:
        message = (
            "no submission of {} is that far down"
            if is_later
            else "no submission of {} is scored yet"
        )
        click.echo(message.format(event_name), err=True)
        return
    names = list(precisions)
    columns = ["rank", "team", "submission"]
    columns += [f"{name} (test)" for name in names] if is_private else []
    columns += [*names, f"mean {names[0]}", f"std {names[0]}"]
    columns += ["contributivity"] if has_blend else []
    columns += ["train time [s]"]
    table = [_cells(row.to_json(), precisions, is_private, has_blend) for row in rows]
    print_table(columns, table, right={0, *range(3, len(columns))})


def _tell_blend(blend: EventBlend, precisions: dict[str, int], *, is_private: bool) -> None:
    """Tell the scores of the blend; that of the test data on a private leaderboard only."""
    digits = precisions.get(blend.score_type, 3)
    told = f"{blend.score_type} {number(blend.combined_valid, digits)}"
    if is_private:
        told += f", {number(blend.combined_test, digits)} (test)"
    at = _time(blend.computed_at.isoformat())
    click.echo(f"blend of {blend.n_submissions} submissions: {told}, computed {at}", err=True)


def _cells(
    row: dict[str, Any], precisions: dict[str, int], is_private: bool, has_blend: bool
) -> list[str]:
    def bags(scores: dict[str, dict[str, float | None]]) -> list[str]:
        bagged = {name: score["bag"] for name, score in scores.items()}
        return [number(bagged.get(name), digits) for name, digits in precisions.items()]

    official, digits = next(iter(precisions.items()))
    spread = row["scores"].get(official, {"mean": None, "std": None})  # deployed again since
    return [
        str(row["rank"]),
        row["team"],
        row["submission"],
        *(bags(row["private_scores"]) if is_private else []),
        *bags(row["scores"]),
        number(spread["mean"], digits),
        number(spread["std"], digits + 1),
        *([number(row["contributivity"], 0)] if has_blend else []),
        number(row["train_time"], 2),
    ]
