"""``ramp cancel``, ``ramp retry`` and ``ramp explain``: one submission, taken in hand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ramp_engine.cli import edge, options

if TYPE_CHECKING:
    from ramp_database.history import History
    from ramp_database.session import Database
    from ramp_engine.narrative import Narrative

#: Time between two looks at a submission that is being canceled, in seconds.
LOOK_SECONDS = 0.2

_submission_id = click.argument("submission_id", type=int)


@click.command()
@options.config_option
@_submission_id
@click.option("--reason", default="canceled with ramp cancel", help="Why; its team reads it.")
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
def cancel(config: Path | None, submission_id: int, reason: str, wait: bool) -> int:
    """Cancel a submission: at once when it waits, else its dispatcher ends the run."""
    from ramp_database import history, queue
    from ramp_database.states import State

    database = options.open_database(config)
    with database.session() as session:
        state = queue.cancel(session, submission_id, reason)
        found = history.read(session, submission_id)
    if state is State.CANCELED:
        click.echo(f"submission {submission_id} is canceled")
        return 0
    click.echo(f"submission {submission_id} is {state}; its dispatcher was asked to end it")
    _tell_next(found)
    return _wait_for_end(database, submission_id) if wait else 0


def _wait_for_end(database: Database, submission_id: int) -> int:
    """Wait until a submission is final; give up when nobody is there who could end it."""
    from ramp_database import history
    from ramp_database.states import State

    while True:
        with database.session(read_only=True) as session:
            found = history.read(session, submission_id)
        if found.state.is_final:
            break
        if not found.live_dispatchers:
            click.echo("no dispatcher is there to end it: not waited any longer", err=True)
            return edge.EXIT_FAILED
        time.sleep(LOOK_SECONDS)
    is_canceled = found.state is State.CANCELED
    before = "" if is_canceled else ", before it could be ended"
    click.echo(f"submission {submission_id} is {found.state}{before}")
    return 0 if is_canceled else edge.EXIT_FAILED


@click.command()
@options.config_option
@click.argument("submission_id", type=int, required=False)
@click.option("--failed", is_flag=True, help="All that the platform failed: checking_error.")
@click.option("--event", "event_name", help="Name of the event, with --failed.")
@click.option("--reason", default="reopened with ramp retry", help="Why; it is kept.")
def retry(
    config: Path | None,
    submission_id: int | None,
    failed: bool,
    event_name: str | None,
    reason: str,
) -> None:
    """Have a submission that has ended evaluated again; its history is kept."""
    from ramp_database import history, queue

    if failed == (submission_id is not None) or failed != (event_name is not None):
        raise click.UsageError("give either the number of a submission, or --failed --event NAME")
    database = options.open_database(config)
    numbers = [submission_id] if submission_id is not None else _failed(database, event_name or "")
    with database.session() as session:
        for number in numbers:
            queue.reopen(session, number, reason)
        found = [history.read(session, number) for number in numbers[:1]]
    for number in numbers:
        click.echo(f"submission {number} is evaluated again")
    if not numbers:
        click.echo(f"no submission of {event_name} is in checking_error")
    for one in found:
        _tell_next(one)


def _failed(database: Database, event_name: str) -> list[int]:
    from ramp_database import events, submissions
    from ramp_database.states import State

    with database.session(read_only=True) as session:
        event = events.get_event(session, event_name)
        return submissions.ids_by_state(session, event.id, {State.CHECKING_ERROR})


@click.command()
@options.config_option
@_submission_id
@options.json_option
def explain(config: Path | None, submission_id: int, as_json: bool) -> None:
    """Tell what happened to a submission, step by step, and what happens next."""
    from ramp_database import history
    from ramp_engine.narrative import tell

    database = options.open_database(config)
    with database.session(read_only=True) as session:
        found = history.read(session, submission_id)
    told = tell(found)
    if as_json:
        options.echo_json(_to_json(found, told))
    else:
        _print(told)


def _tell_next(found: History) -> None:
    """Say on stderr what happens next."""
    from ramp_engine.narrative import tell

    for sentence in tell(found).next:
        click.echo(options.visible(sentence, keep=""), err=True)


def _print(told: Narrative) -> None:
    from ramp_engine.narrative import moment

    click.echo(options.visible(told.headline, keep="") + "\n")
    for step in told.steps:
        line = f"{moment(step.at)}  {step.what}  [{step.who}]"
        click.echo(options.visible(line, keep=""))
        for reason in options.visible(step.why).splitlines():
            click.echo(f"    {reason}")
    if told.made_with:
        click.echo("\nEvaluated with:")
    for line in told.made_with:
        click.echo(f"  {options.visible(line, keep='')}")
    click.echo("\nWhat happens next:")
    for sentence in told.next:
        click.echo(f"  {options.visible(sentence, keep='')}")


def _to_json(found: History, told: Narrative) -> dict[str, Any]:
    """Give facts and words, ready for JSON: times in ISO format, UTC."""
    names = ["submission_id", "event", "team", "name", "state", "error", "n_crashes", "n_ahead"]
    names.append("partial")
    steps = [
        _plain(facts) | {"what": words.what, "who": words.who, "why": words.why}
        for facts, words in zip(found.steps, told.steps, strict=True)
    ]
    return {
        **{name: getattr(found, name) for name in names},
        **{name: _iso(getattr(found, name)) for name in ("not_before", "cancel_requested_at")},
        "dispatcher": found.dispatcher_id,
        "steps": steps,
        "attempts": [_plain(one) for one in found.attempts],
        "dispatchers": [
            _plain(one) | {"is_live": one.is_live} for one in found.dispatchers.values()
        ],
        "next": list(told.next),
    }


def _plain(facts: object) -> dict[str, Any]:
    return {name: _iso(value) for name, value in vars(facts).items()}


def _iso(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
