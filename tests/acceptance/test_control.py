"""``ramp cancel``, ``retry``, ``explain`` and ``doctor``, as an organiser types them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.deployment import Deployment, processes_of, wait_until

HONEST = """
    import numpy as np

    class Uniform:
        def fit(self, X, y):
            {fit}
            return self

        def predict_proba(self, X):
            return np.full((len(X), 3), 1 / 3)

    def get_estimator():
        return Uniform()
"""

#: Leaves a daemon behind, which like its parent ignores SIGTERM, and tells when both run.
STUBBORN = (
    "import os, pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "child = os.fork(); child or (os.setsid(), os.fork() and os._exit(0)); "
    "marker = pathlib.Path({marker!r} + ('' if child else '.daemon')); "
    "marker.write_text(str(os.getpid())); time.sleep(600)"
)


def launch(deployment: Deployment) -> tuple[str, ...]:
    return ("launch", "dispatcher", "--event-config", str(deployment.event_config))


def code(fit: str) -> dict[str, str]:
    return {"estimator.py": HONEST.format(fit=fit)}


def stubborn(deployment: Deployment) -> tuple[dict[str, str], Callable[[], bool]]:
    """A submission that will not end, and what tells that it and its daemon run."""
    deployment.unconfine()
    marker = deployment.directory / "started"
    markers = [marker, Path(f"{marker}.daemon")]
    return code(STUBBORN.format(marker=str(marker))), lambda: all(
        one.exists() and one.read_text() for one in markers
    )


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_canceled_run_is_gone_with_what_it_started_and_the_dispatcher_goes_on(
    deployment: Deployment,
) -> None:
    files, is_running = stubborn(deployment)
    number = deployment.submit("stubborn", files)
    dispatcher = deployment.start(*launch(deployment))
    assert wait_until(is_running)
    started = [deployment.directory / name for name in ("started", "started.daemon")]
    pids = [int(path.read_text()) for path in started]
    assert not any(is_gone(pid) for pid in pids)
    done = deployment.ramp("cancel", str(number), "--wait", "--reason", "wrong file")
    assert "its dispatcher was asked to end it" in done.stdout
    assert f"submission {number} is canceled" in done.stdout
    assert all(is_gone(pid) for pid in pids)
    row = deployment.submissions()[number]
    assert (row["state"], row["error"]) == ("canceled", "wrong file")
    told = deployment.ramp("explain", str(number)).stdout
    assert "attempt 1 ended" in told
    assert "it was canceled" in told
    assert f"process {dispatcher.pid}; alive" in told
    honest = deployment.submit("starting_kit")
    assert wait_until(lambda: deployment.submissions()[honest]["state"] == "scored")


def test_a_waiting_submission_is_canceled_at_once_and_evaluated_after_a_retry(
    deployment: Deployment,
) -> None:
    number = deployment.submit("starting_kit")
    assert "is canceled" in deployment.ramp("cancel", str(number), "--wait").stdout
    assert "ended already" in deployment.ramp("cancel", str(number), code=1).stderr
    deployment.dispatch()
    assert deployment.submissions()[number]["state"] == "canceled"
    done = deployment.ramp("retry", str(number))
    assert "ramp launch dispatcher" in done.stderr, "nobody is there to evaluate it"
    assert "waits already" in deployment.ramp("retry", str(number), code=1).stderr
    deployment.dispatch()
    assert deployment.submissions()[number]["state"] == "scored"
    states = [step["to_state"] for step in deployment.json("explain", str(number))["steps"]]
    way = ["sent_to_training", "training", "tested", "scored"]
    assert states == ["new", "canceled", "new", *way]


def test_nobody_waits_for_a_cancel_that_nobody_can_do(deployment: Deployment) -> None:
    config = deployment.directory / deployment.event_config
    limits = "  heartbeat_seconds: 0.2\n  stale_after_seconds: 1\n"
    config.write_text(config.read_text() + limits)
    files, is_running = stubborn(deployment)
    number = deployment.submit("stubborn", files)
    dispatcher = deployment.start(*launch(deployment))
    assert wait_until(is_running)
    os.kill(dispatcher.pid, signal.SIGKILL)
    dispatcher.wait()
    done = deployment.ramp("cancel", str(number), "--wait", code=1)
    assert "no dispatcher is there to end it" in done.stderr
    text = deployment.ramp("explain", str(number)).stdout
    assert "no sign of life" in text
    assert "ramp launch dispatcher" in text
    found = deployment.ramp("doctor", "--event-config", str(deployment.event_config), code=1).stdout
    assert f"submissions of dead dispatchers: {number}" in found
    deployment.dispatch()
    assert deployment.submissions()[number]["state"] == "canceled"
    deployment.ramp("doctor")


def test_what_the_platform_failed_is_found_explained_mended_and_retried(
    deployment: Deployment,
) -> None:
    config = deployment.directory / deployment.event_config
    good = config.read_text() + "  max_attempts: 2\n"
    config.write_text(
        good.replace("worker_type: local\n  python: ", "worker_type: local\n  python: /no")
    )
    numbers = [deployment.submit("starting_kit"), deployment.submit("sepals", team="red")]
    deployment.dispatch()
    told = deployment.ramp("explain", str(numbers[0])).stdout
    assert "the platform failed, which is counted; it waits to be tried again" in told
    assert "its attempts are spent" in told
    assert "ramp doctor" in told
    found = deployment.ramp("doctor", code=1).stdout
    assert "the event's environment is missing" in found
    assert "ramp retry --failed --event iris" in found
    config.write_text(good)
    deployment.ramp("doctor")
    done = deployment.ramp("retry", "--failed", "--event", "iris")
    assert all(f"submission {number} is evaluated again" in done.stdout for number in numbers)
    deployment.dispatch()
    rows = deployment.submissions()
    assert [(rows[number]["state"], rows[number]["attempt"]) for number in numbers] == [
        ("scored", 3),
        ("scored", 3),
    ]
    again = deployment.ramp("retry", "--failed", "--event", "iris")
    assert "no submission of iris is in checking_error" in again.stdout


def test_retry_says_what_it_can_do(make_deployment: Callable[..., Deployment]) -> None:
    deployment = make_deployment()
    for arguments in ((), ("1", "--failed"), ("--failed",), ("1", "--event", "x")):
        assert "--failed --event NAME" in deployment.ramp("retry", *arguments, code=2).stderr


def test_no_participant_drives_the_terminal(deployment: Deployment) -> None:
    evil = "raise ValueError('\\x1b]0;owned\\x07\\x1b[2J \\u202e')"
    number = deployment.submit("evil", code(evil))
    deployment.dispatch()
    for command in (("explain", str(number)), ("status",), ("doctor",)):
        done = deployment.ramp(*command)
        said = done.stdout + done.stderr
        assert [c for c in said if not c.isprintable() and c != "\n"] == []
    assert "owned" in deployment.ramp("explain", str(number)).stdout
    assert "\x1b[2J" in deployment.json("explain", str(number))["steps"][-1]["why"]


def test_doctor_finds_what_is_wrong_and_names_what_mends_it(deployment: Deployment) -> None:
    deployment.submit("starting_kit")
    event = ("--event-config", str(deployment.event_config))
    problem = deployment.event / "kit" / "problem.py"
    problem.write_text(problem.read_text() + "\n# changed\n")
    shutil.rmtree(deployment.event / "logs", ignore_errors=True)
    (deployment.event / "logs").write_text("in the way")
    found = deployment.ramp("doctor", *event, code=1).stdout
    assert "the kit changed since the event was deployed" in found
    assert "ramp setup deploy-event --force" in found
    assert "logs_dir" in found
    assert "dispatchers [no-dispatcher]: 1 submissions wait, and no dispatcher runs" in found
    assert "doc/howto/recover.md" in found
    assert "ramp launch dispatcher" in found
    answer = deployment.ramp("doctor", *event, "--json", code=1).stdout
    assert '"is_healthy": false' in answer
    assert '"kind": "kit-changed"' in answer


def test_doctor_follows_an_event_from_nothing_to_health(
    make_deployment: Callable[..., Deployment],
) -> None:
    deployment = make_deployment()
    event = ("--event-config", str(deployment.event_config))
    assert "there is no database" in deployment.ramp("doctor").stdout
    assert not (deployment.directory / "ramp.db").exists(), "looking makes nothing"
    deployment.ramp("database", "upgrade")
    assert "is not deployed" in deployment.ramp("doctor", *event, code=1).stdout
    deployment.deploy()
    healthy = deployment.json("doctor", *event)
    assert healthy["is_healthy"]
    levels = {one["level"] for one in healthy["findings"] if one["check"] != "disk space"}
    assert levels == {"ok"}
    before = sorted(deployment.directory.rglob("*"))
    shutil.rmtree(deployment.event / "work" / "bundles")
    missing = deployment.ramp("doctor", *event).stdout
    assert "the bundle is missing; the next dispatcher makes it" in missing
    deployment.deploy()
    assert sorted(deployment.directory.rglob("*")) == before


def test_doctor_tells_a_database_that_is_away(
    make_deployment: Callable[..., Deployment],
) -> None:
    deployment = make_deployment("postgresql://ramp:secret@127.0.0.1:1/ramp")
    done = deployment.ramp("doctor", "--event-config", str(deployment.event_config), code=1)
    assert "cannot be reached" in done.stdout
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("option", ["--stay", "--exit-when-done"])
def test_a_dispatcher_started_by_hand_tells_that_the_database_is_away_and_ends(
    make_deployment: Callable[..., Deployment], option: str
) -> None:
    deployment = make_deployment("postgresql://ramp:secret@127.0.0.1:1/ramp")
    event = ("--event-config", str(deployment.event_config))
    done = deployment.ramp("launch", "dispatcher", option, *event, code=1)
    assert "cannot be reached" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_doctor_tells_the_mistakes_of_a_config_file(deployment: Deployment) -> None:
    config = deployment.directory / deployment.event_config
    config.write_text(config.read_text().replace("n_workers: 2", "n_wrokers: 2"))
    found = deployment.ramp("doctor", code=1).stdout
    assert "did you mean 'n_workers'" in found
    assert processes_of(deployment.directory) == []


def test_a_confinement_that_cannot_be_made_any_more_is_nobodys_fault_but_ours(
    deployment: Deployment,
) -> None:
    words = deployment.event / "words"
    words.mkdir()
    config = deployment.directory / deployment.event_config
    text = config.read_text().replace("worker:\n", "worker:\n  extra_read_paths: [words]\n", 1)
    config.write_text(text + "  max_attempts: 1\n")
    before = deployment.submit("starting_kit")
    deployment.start(*launch(deployment))
    assert wait_until(lambda: deployment.submissions()[before]["state"] == "scored")
    words.rmdir()
    after = deployment.submit("another", code("pass"))
    assert wait_until(lambda: deployment.submissions()[after]["state"] == "checking_error")
    error = deployment.submissions()[after]["error"]
    refusal = f"what submissions shall read is gone: {words}"
    assert error.startswith("The platform failed, not your code: ")
    assert refusal in error.splitlines()[0]
    told = deployment.ramp("explain", str(after)).stdout
    assert "the platform failed, which is counted" in told
    assert refusal in told
    assert "Put it back, or correct extra_read_paths" in told
    assert refusal in deployment.ramp("logs", str(after)).stdout
