"""What happens to a submission whose score step is cut off: it is scored, or trained, again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.deployment import PATIENCE_SECONDS, Deployment, processes_of, wait_until

WRAPPER = """#!/bin/sh
# The event's Python, which waits in the score step for as long as a file is there.
case " $* " in *" score "*) touch {scoring}; while [ -e {held} ]; do sleep 0.1; done;; esac
exec {python} "$@"
"""


@pytest.fixture
def held(deployment: Deployment) -> Path:
    """The file that holds up every score step; the dispatcher's patience is short."""
    held, scoring = deployment.directory / "held", deployment.directory / "scoring"
    wrapper = deployment.directory / "python"
    wrapper.write_text(WRAPPER.format(scoring=scoring, held=held, python=deployment.python))
    wrapper.chmod(0o755)
    config = deployment.directory / deployment.event_config
    text = config.read_text()
    trusted = f"evaluation:\n  python: {deployment.python}"
    assert trusted in text
    text = text.replace(trusted, f"evaluation:\n  python: {wrapper}")
    config.write_text(text + "  heartbeat_seconds: 0.2\n  stale_after_seconds: 2\n")
    held.touch()
    return held


def scoring(deployment: Deployment, number: int) -> Callable[[], bool]:
    return lambda: (
        (deployment.directory / "scoring").exists()
        and deployment.submissions()[number]["state"] == "tested"
    )


def test_a_submission_is_scored_by_the_next_dispatcher_and_not_trained_again(
    deployment: Deployment, held: Path
) -> None:
    number = deployment.submit("sepals")
    launch = ("launch", "dispatcher", "--event-config", str(deployment.event_config))
    process = deployment.start(*launch)
    assert wait_until(scoring(deployment, number))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    held.unlink()
    deployment.dispatch()
    row = deployment.submissions()[number]
    assert (row["state"], row["attempt"]) == ("scored", 1)
    leftovers = [path.name for path in (deployment.event / "predictions").iterdir()]
    assert leftovers == [f"submission_{number:09d}"]
    (attempt,) = deployment.json("explain", str(number))["attempts"]
    assert all(attempt["provenance"].values()), "who scores knows what it was trained with"


def test_published_predictions_that_are_gone_are_made_again(
    deployment: Deployment, held: Path
) -> None:
    """As after a crash between two renames: it is ours, and not the participant's failure."""
    number = deployment.submit("sepals")
    launch = ("launch", "dispatcher", "--event-config", str(deployment.event_config))
    process = deployment.start(*launch)
    assert wait_until(scoring(deployment, number))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    predictions = deployment.event / "predictions" / f"submission_{number:09d}"
    predictions.rename(predictions.with_name(f".{predictions.name}.old"))
    held.unlink()
    deployment.dispatch()
    row = deployment.submissions()[number]
    assert (row["state"], row["attempt"]) == ("scored", 2)


def test_a_dispatcher_that_is_told_to_stop_does_not_wait_for_the_score_step(
    deployment: Deployment, held: Path
) -> None:
    number = deployment.submit("sepals")
    launch = ("launch", "dispatcher", "--event-config", str(deployment.event_config))
    process = deployment.start(*launch)
    assert wait_until(scoring(deployment, number))
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert processes_of(deployment.directory) == []
    assert deployment.submissions()[number]["state"] == "new"
    held.unlink()
    deployment.dispatch()
    assert deployment.submissions()[number]["state"] == "scored"
