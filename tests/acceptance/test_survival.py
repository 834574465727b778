"""Whatever a submission, the environment or a signal does, each submission ends with a reason."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.deployment import PATIENCE_SECONDS, Deployment, processes_of, wait_until

ESTIMATOR = """
    import numpy as np

    class Uniform:
        def fit(self, X, y):
            {fit}
            return self

        def predict_proba(self, X):
            proba = np.full((len(X), 3), 1 / 3)
            {predict}
            return proba

    def get_estimator():
        return Uniform()
"""

#: What a submission does: (in fit, in predict_proba, state, words of the reason).
DEEDS = {
    "bad_bytes": ("import sys; sys.stdout.buffer.write(b'\\xff\\x00')", "", "scored", ""),
    "raises": ("raise ValueError('no idea')", "", "training_error", "no idea"),
    "exits": ("import os; os._exit(0)", "", "training_error", ""),
    "exits_well": ("import sys; sys.exit(0)", "", "training_error", ""),
    "kills_itself": ("import os; os.kill(os.getpid(), 9)", "", "training_error", "SIGKILL"),
    "kills_parent": (
        "import os; os.kill(os.getppid(), 9); __import__('time').sleep(60)",
        "",
        "training_error",
        "fold 0, training",  # killed, or not allowed to where it is confined
    ),
    "nan": ("", "proba[0] = np.nan", "validating_error", "NaN"),
    "too_short": ("", "proba = proba[:-1]", "validating_error", ""),
    "one_column": ("", "proba = proba[:, 0]", "validating_error", ""),
    "raises_late": ("", "raise KeyError('late')", "validating_error", "late"),
    "honest": ("", "", "scored", ""),
}


def code(fit: str, predict: str) -> dict[str, str]:
    return {"estimator.py": ESTIMATOR.format(fit=fit or "pass", predict=predict or "pass")}


def test_each_failure_has_its_own_reason_and_honest_ones_are_scored(
    deployment: Deployment,
) -> None:
    ids = {
        name: deployment.submit(name, code(fit, predict))
        for name, (fit, predict, _, _) in DEEDS.items()
    }
    deployment.dispatch()
    rows = deployment.submissions()
    states = {name: rows[ids[name]]["state"] for name in DEEDS}
    assert states == {name: state for name, (_, _, state, _) in DEEDS.items()}
    for name, (_, _, _, words) in DEEDS.items():
        assert words in (rows[ids[name]]["error"] or ""), name
    assert (
        b"\xff\x00"
        in (deployment.event / "logs" / f"submission_{ids['bad_bytes']:09d}" / "log").read_bytes()
    )
    assert processes_of(deployment.directory) == []


def test_a_submission_that_takes_too_long_is_ended_with_its_children(
    deployment: Deployment,
) -> None:
    deployment.configure(timeout=4)
    fork = "import os, time; os.fork() or os.setsid(); time.sleep(600)"
    number = deployment.submit("sleeper", code(fork, ""))
    deployment.dispatch()
    row = deployment.submissions()[number]
    assert row["state"] == "training_error"
    assert row["outcome"] == "timed_out"
    assert "4 s" in row["error"]
    assert processes_of(deployment.directory) == []


@pytest.mark.parametrize(
    ("worker_type", "keys", "words"),
    [
        ("local", "python: /nowhere/bin/python", "/nowhere/bin/python"),
        ("conda", "conda_env: /nowhere/envs/iris", "/nowhere/envs/iris"),
    ],
)
def test_a_missing_environment_costs_no_dispatcher(
    make_deployment: Callable[..., Deployment], worker_type: str, keys: str, words: str
) -> None:
    deployment = make_deployment(worker_type=worker_type, worker_keys=keys)
    config = deployment.directory / deployment.event_config
    config.write_text(config.read_text() + "  max_attempts: 1\n")
    deployment.deploy()
    number = deployment.submit("starting_kit")
    deployment.dispatch()
    row = deployment.submissions()[number]
    assert row["state"] == "checking_error"
    assert words in row["error"]


def test_a_kit_that_cannot_be_read_any_more_costs_no_dispatcher(deployment: Deployment) -> None:
    config = deployment.directory / deployment.event_config
    config.write_text(config.read_text() + "  max_attempts: 1\n")
    number = deployment.submit("starting_kit")
    shutil.rmtree(deployment.event / "work" / "bundles")
    (deployment.event / "kit" / "problem.py").write_text("import nonsense_that_is_not_there\n")
    deployment.dispatch()
    row = deployment.submissions()[number]
    assert row["state"] == "checking_error"
    assert "nonsense_that_is_not_there" in row["error"]


def running(deployment: Deployment, number: int) -> Callable[[], bool]:
    marker = deployment.directory / "started"

    def is_running() -> bool:
        return marker.exists() and deployment.submissions()[number]["state"] == "training"

    return is_running


def slow(deployment: Deployment) -> dict[str, str]:
    """A submission that tells when it runs, and then takes a while the first time."""
    deployment.unconfine()
    marker = deployment.directory / "started"
    return code(
        f"import pathlib, time; p = pathlib.Path({str(marker)!r}); first = not p.exists(); "
        "p.touch(); time.sleep(600 if first else 0)",
        "",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dispatcher_that_is_told_to_stop_gives_everything_back(
    deployment: Deployment, number: signal.Signals
) -> None:
    submission = deployment.submit("slow", slow(deployment))
    process = deployment.start(
        "launch", "dispatcher", "--event-config", str(deployment.event_config)
    )
    assert wait_until(running(deployment, submission))
    process.send_signal(number)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert processes_of(deployment.directory) == []
    row = deployment.submissions()[submission]
    assert (row["state"], row["attempt"]) == ("new", 1)
    deployment.dispatch()
    row = deployment.submissions()[submission]
    assert (row["state"], row["attempt"]) == ("scored", 2)


def test_a_run_dies_with_a_dispatcher_that_is_killed_and_another_one_takes_over(
    deployment: Deployment,
) -> None:
    config = deployment.directory / deployment.event_config
    limits = "  heartbeat_seconds: 0.2\n  stale_after_seconds: 2\n"
    config.write_text(config.read_text() + limits)
    submission = deployment.submit("slow", slow(deployment))
    process = deployment.start(
        "launch", "dispatcher", "--event-config", str(deployment.event_config)
    )
    assert wait_until(running(deployment, submission))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: processes_of(deployment.directory) == [])
    deployment.dispatch()
    row = deployment.submissions()[submission]
    assert (row["state"], row["attempt"]) == ("scored", 2)
    assert list((deployment.event / "work" / "attempts").iterdir()) == []


def test_a_daemon_runs_a_dispatcher_for_each_deployed_event(deployment: Deployment) -> None:
    other = deployment.directory / "events" / "not_deployed"
    other.mkdir()
    (other / "config.yml").write_text("ramp: [broken\n")
    submission = deployment.submit("starting_kit")
    daemon = deployment.start("launch", "daemon", "--events-dir", "events")
    assert wait_until(lambda: deployment.submissions()[submission]["state"] == "scored")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE_SECONDS) == 0
    assert processes_of(deployment.directory) == []
    assert (deployment.event / "logs" / "dispatcher.log").stat().st_size > 0


def test_a_log_that_nobody_may_write_is_told_and_loses_nothing(
    deployment: Deployment, tmp_path: Path
) -> None:
    """A file stands where the directory of the logs should be."""
    config = deployment.directory / deployment.event_config
    config.write_text(config.read_text() + "  max_attempts: 1\n")
    shutil.rmtree(deployment.event / "logs", ignore_errors=True)
    (deployment.event / "logs").write_text("in the way")
    number = deployment.submit("starting_kit")
    deployment.dispatch()
    row = deployment.submissions()[number]
    assert row["state"] == "checking_error"
    assert str(deployment.event / "logs") in row["error"]


def test_a_dispatcher_that_was_paused_and_robbed_records_nothing_and_starts_over(
    deployment: Deployment,
) -> None:
    """As a laptop whose lid was closed: another dispatcher took its submission meanwhile."""
    config = deployment.directory / deployment.event_config
    limits = "  heartbeat_seconds: 0.2\n  stale_after_seconds: 2\n"
    config.write_text(config.read_text() + limits)
    submission = deployment.submit("slow", slow(deployment))
    launch = ("launch", "dispatcher", "-v", "--event-config", str(deployment.event_config))
    paused = deployment.start(*launch)
    assert wait_until(running(deployment, submission))
    paused.send_signal(signal.SIGSTOP)
    deployment.dispatch()
    row = deployment.submissions()[submission]
    assert (row["state"], row["attempt"]) == ("scored", 2)
    board = deployment.json("leaderboard", "--event", "iris")
    paused.send_signal(signal.SIGCONT)
    later = deployment.submit("honest", code("", ""))
    assert wait_until(lambda: deployment.submissions()[later]["state"] == "scored")
    assert deployment.submissions()[submission] == row
    assert [r for r in deployment.json("leaderboard", "--event", "iris") if r in board] == board
    paused.send_signal(signal.SIGTERM)
    assert paused.wait(PATIENCE_SECONDS) == 0
    assert "starting over" in (deployment.directory / "process_0.log").read_text()


def test_a_dispatcher_sees_that_its_event_was_deployed_again(deployment: Deployment) -> None:
    """The next submission is evaluated with the new folds and score types."""
    launch = ("launch", "dispatcher", "--event-config", str(deployment.event_config))
    process = deployment.start(*launch)
    first = deployment.submit("starting_kit")
    assert wait_until(lambda: deployment.submissions()[first]["state"] == "scored")
    with (deployment.event / "kit" / "problem.py").open("a") as problem:
        problem.write("\nscore_types = [rw.score_types.BalancedAccuracy(name='balanced')]\n")
        problem.write("\n\ndef get_cv(X, y):\n    n = len(y) // 2\n")
        problem.write("    return [(range(n), range(n, len(y)))]\n")
    deploy = ("setup", "deploy-event", "--event-config", str(deployment.event_config))
    deployment.ramp(*deploy, "--force", "--new-folds")
    second = deployment.submit("sepals")
    assert wait_until(lambda: deployment.submissions()[second]["state"] == "scored")
    board = deployment.json("leaderboard", "--event", "iris")
    assert [row["submission_id"] for row in board] == [second, first]
    assert board[0]["scores"]["balanced"]["std"] == 0
    assert board[1]["score"] is None
    assert "sepals" in deployment.ramp("leaderboard", "--event", "iris").stdout
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0


def dispatcher_of(daemon_pid: int) -> int | None:
    """Give the child of a daemon."""
    children = Path(f"/proc/{daemon_pid}/task/{daemon_pid}/children").read_text().split()
    return int(children[0]) if children else None


def test_a_daemon_replaces_a_dispatcher_that_is_killed(deployment: Deployment) -> None:
    config = deployment.directory / deployment.event_config
    limits = "  heartbeat_seconds: 0.2\n  stale_after_seconds: 2\n"
    config.write_text(config.read_text() + limits)
    submission = deployment.submit("slow", slow(deployment))
    daemon = deployment.start("launch", "daemon", "--events-dir", "events")
    assert wait_until(running(deployment, submission))
    killed = dispatcher_of(daemon.pid)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert wait_until(lambda: deployment.submissions()[submission]["state"] == "scored")
    assert dispatcher_of(daemon.pid) != killed
    assert deployment.submissions()[submission]["attempt"] == 2


def has_ended(deployment: Deployment) -> bool:
    """Whether the daemon says that a dispatcher of it has ended, and none runs."""
    log = (deployment.directory / "process_0.log").read_text()
    return "has ended" in log and dispatcher_of(deployment.processes[0].pid) is None


def test_the_dispatcher_of_a_closed_event_ends_and_a_retry_wakes_it(deployment: Deployment) -> None:
    submission = deployment.submit("starting_kit")
    config = deployment.directory / deployment.event_config
    closing = "  closing_timestamp: 2020-01-01T00:00:00Z\n"
    config.write_text(config.read_text().replace("worker:\n", f"{closing}worker:\n", 1))
    deployment.deploy()
    deployment.start("launch", "daemon", "--events-dir", "events", "--linger-seconds", "0")
    assert wait_until(lambda: deployment.submissions()[submission]["state"] == "scored")
    assert wait_until(lambda: has_ended(deployment))
    deployment.ramp("retry", str(submission))
    assert wait_until(lambda: deployment.submissions()[submission]["attempt"] == 2)
    assert wait_until(lambda: deployment.submissions()[submission]["state"] == "scored")
    assert wait_until(lambda: dispatcher_of(deployment.processes[0].pid) is None)
    deployment.processes[0].send_signal(signal.SIGTERM)
    assert deployment.processes[0].wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_daemon_reaches_its_dispatchers_and_it_waits_for_them(
    deployment: Deployment, number: signal.Signals
) -> None:
    submission = deployment.submit("slow", slow(deployment))
    daemon = deployment.start("launch", "daemon", "--events-dir", "events")
    assert wait_until(running(deployment, submission))
    daemon.send_signal(number)
    assert daemon.wait(PATIENCE_SECONDS) == 0
    assert processes_of(deployment.directory) == []
    row = deployment.submissions()[submission]
    assert (row["state"], row["attempt"], row["outcome"]) == ("new", 1, "interrupted")


def test_the_dispatchers_of_a_daemon_that_is_killed_end_in_order(deployment: Deployment) -> None:
    submission = deployment.submit("slow", slow(deployment))
    daemon = deployment.start("launch", "daemon", "--events-dir", "events")
    assert wait_until(running(deployment, submission))
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    assert wait_until(lambda: processes_of(deployment.directory) == [])
    row = deployment.submissions()[submission]
    assert (row["state"], row["attempt"], row["outcome"]) == ("new", 1, "interrupted")


def test_a_submission_is_confined_and_held_to_limits_and_both_are_told(
    deployment: Deployment,
) -> None:
    config = deployment.directory / deployment.event_config
    keys = "worker:\n  limits: {fold_seconds: 8, memory_mb: 1024}\n"
    config.write_text(config.read_text().replace("worker:\n", keys, 1))
    honest = deployment.submit("honest", code("", ""))
    sleeper = deployment.submit("sleeper", code("import time; time.sleep(600)", ""))
    eater = deployment.submit("eater", code("data = bytearray(b'x') * (1500 << 20)", ""))
    deployment.dispatch()
    rows = deployment.submissions()
    found = {id_: (rows[id_]["state"], rows[id_]["outcome"]) for id_ in (honest, sleeper, eater)}
    assert found == {
        honest: ("scored", "succeeded"),
        sleeper: ("training_error", "timed_out"),
        eater: ("training_error", "out_of_memory"),
    }
    assert "of 8 s" in rows[sleeper]["error"].splitlines()[0]
    assert "of 1 GB in fold 0, training" in rows[eater]["error"].splitlines()[0]
    told = deployment.ramp("explain", str(honest)).stdout
    (attempt,) = json.loads(deployment.ramp("explain", str(honest), "--json").stdout)["attempts"]
    level = attempt["confinement"]
    assert ("not confined" if level == "none" else f"confined by {level}") in told
    assert processes_of(deployment.directory) == []
