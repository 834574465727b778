"""The commands around an event, each as its user types it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable

from tests.acceptance.deployment import Deployment


def test_people_are_added_and_signed_up_step_by_step(deployment: Deployment) -> None:
    ramp = deployment.ramp
    folder = str(deployment.event / "kit" / "submissions" / "starting_kit")
    ramp("database", "add-user", "--login", "ada", "--email", "ada@example.org")
    assert "ada" in ramp("database", "add-user", "--login", "ada", code=1).stderr
    ramp("database", "add-team", "--team", "blue", "--login", "ada")
    team = ("--event", "iris", "--team", "blue")
    refused = ramp("submit", folder, *team, code=1).stderr
    assert "sign" in refused
    ramp("database", "sign-up-team", *team)
    ramp("database", "add-submission", *team, "--submission", "first", "--path", folder)
    taken = ramp("submit", folder, *team, "--name", "first", code=1).stderr
    assert "'first'" in taken
    states = deployment.json("database", "get-submissions-by-state", "--event", "iris")
    assert [(row["name"], row["state"]) for row in states] == [("first", "new")]


def test_status_tells_states_and_reasons_to_people_and_to_scripts(scored: Deployment) -> None:
    status = scored.json("status", "--event", "iris")
    assert status["event"] == "iris"
    assert status["states"] == {"scored": 2, "training_error": 1}
    keys = {"id", "team", "name", "state", "attempt", "error"}
    assert all(keys <= set(row) for row in status["submissions"])
    shown = scored.ramp("status")
    (line,) = [line for line in shown.stdout.splitlines() if "petal_widht" in line]
    assert "training_error" in line
    assert "KeyError" in line
    assert "Traceback" not in shown.stdout, "hundreds of them could not be read"
    assert shown.stderr.count("ramp explain ID") == 1
    (failed,) = [row for row in status["submissions"] if row["state"] == "training_error"]
    number = str(failed["id"])
    assert "Traceback" not in failed["error"]
    for told in (failed["error"], scored.ramp("explain", number).stdout):
        assert "fold 0, training: KeyError: 'petal_widht' (estimator.py, line" in told
        assert "ramp-test --submission broken" in told
        assert f"ramp logs {number}" in told
    assert "Traceback" in scored.ramp("logs", number).stdout, "it stays in the log"


def test_leaderboards_page_and_show_the_best_of_each_team(scored: Deployment) -> None:
    scored.submit("random_forest", team="red")
    scored.dispatch()
    board = scored.json("leaderboard", "--event", "iris")
    assert [row["submission"] for row in board] == ["random_forest", "sepals", "starting_kit"]
    best = scored.json("leaderboard", "--event", "iris", "--best-per-team")
    assert [(row["team"], row["submission"]) for row in best] == [
        ("red", "random_forest"),
        ("blue", "starting_kit"),
    ]
    page = scored.json("leaderboard", "--event", "iris", "--limit", "1", "--offset", "1")
    assert page == board[1:2]
    pages = ("leaderboard", "--event", "iris", "--limit", "1", "--page")
    assert [scored.json(*pages, str(number)) for number in (2, 4)] == [board[1:2], []]
    assert "that far down" in scored.ramp(*pages, "4").stderr
    assert "--offset" in scored.ramp(*pages, "1", "--offset", "1", code=2).stderr
    newest = scored.json("status", "--event", "iris", "--limit", "1")
    assert (len(newest["submissions"]), newest["states"]["scored"]) == (1, 3)


def test_leaderboards_are_exported_with_full_precision(scored: Deployment) -> None:
    scored.ramp("database", "export-leaderboards", "boards", "--event", "iris")
    folder = scored.directory / "boards"
    board = scored.json("leaderboard", "--event", "iris", "--private")
    assert json.loads((folder / "iris_private.json").read_text()) == board
    with (folder / "iris_private.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    official = next(iter(board[0]["scores"]))
    assert float(rows[0][f"private_scores.{official}.bag"]) == board[0]["score"]
    public = json.loads((folder / "iris_public.json").read_text())
    assert all("private_scores" not in row for row in public)


def test_a_submission_is_evaluated_again_when_its_state_is_set_to_new(scored: Deployment) -> None:
    state = ("database", "set-submission-state", "--submission-id", "1", "--state")
    assert "scord" in scored.ramp(*state, "scord", code=2).stderr
    scored.ramp(*state, "new")
    scored.dispatch()
    row = scored.submissions()[1]
    assert (row["state"], row["attempt"]) == ("scored", 2)


def test_logs_are_printed_as_they_are(deployment: Deployment) -> None:
    chatty = """
        import sys
        sys.stdout.buffer.write(b"caf\\xe9\\n")
        from nearest import NearestMean
        get_estimator = NearestMean
    """
    number = deployment.submit("chatty", {"estimator.py": chatty})
    assert "no log yet" in deployment.ramp("logs", str(number), code=1).stderr
    deployment.dispatch()
    assert "caf\\xe9" in deployment.ramp("logs", str(number)).stdout  # the byte as it was
    assert "999" in deployment.ramp("logs", "999", code=1).stderr


def test_predictions_are_deleted_and_scores_stay(scored: Deployment) -> None:
    board = scored.json("leaderboard", "--event", "iris")
    predictions = scored.event / "predictions"
    assert len(list(predictions.glob("submission_*"))) == 2
    command = ("database", "delete-predictions", "--event", "iris")
    assert "of 1 submissions" in scored.ramp(*command, "--submission-id", "1", "--dry-run").stdout
    assert "of 0 submissions" in scored.ramp(*command, "--older-than", "1", "--dry-run").stdout
    assert "is not final" in scored.ramp(*command, "--state", "training", code=2).stderr
    assert "nobody" in scored.ramp(*command, "--team", "nobody", "--yes", code=1).stderr
    assert "--yes" in scored.ramp(*command, code=2).stderr  # nobody can be asked
    assert len(list(predictions.glob("submission_*"))) == 2
    done = scored.ramp(*command, "--yes")
    assert "2 submissions" in done.stdout
    assert list(predictions.glob("submission_*")) == []
    assert scored.json("leaderboard", "--event", "iris") == board


def test_an_event_is_deleted_and_deployed_again_afresh(scored: Deployment) -> None:
    scored.ramp("database", "delete-event", "--event", "iris", code=2)  # nobody said yes
    kept = scored.event / "work" / "kept"
    for number in (1, 999):  # the second is of another event
        (kept / f"submission_{number:09d}").mkdir(parents=True)
    scored.ramp("database", "delete-event", "--event", "iris", "--yes")
    assert [path.name for path in kept.iterdir()] == ["submission_000000999"]
    assert "iris" in scored.ramp("status", "--event", "iris", code=1).stderr
    scored.deploy()
    number = scored.submit("sepals", team="blue")
    assert number > 3, "numbers name files and are never used again"
    scored.dispatch()
    assert scored.submissions()[number]["state"] == "scored"


def test_a_config_with_mistakes_is_told_line_by_line(deployment: Deployment) -> None:
    config = deployment.directory / deployment.event_config
    check = ("config", "check", "--event-config", str(deployment.event_config))
    deployment.ramp(*check)
    config.write_text(config.read_text().replace("n_workers: 2", "n_wrokers: two"))
    told = deployment.ramp(*check, code=2).stderr
    line = config.read_text().splitlines().index("  n_wrokers: two") + 1
    assert f"config.yml:{line}" in told
    assert "did you mean 'n_workers'" in told


def test_a_dispatcher_for_an_unknown_worker_or_event_says_so(
    make_deployment: Callable[..., Deployment],
) -> None:
    deployment = make_deployment()
    launch = ("launch", "dispatcher", "--event-config", str(deployment.event_config))
    assert "deploy" in deployment.ramp(*launch, code=1).stderr
    config = deployment.directory / deployment.event_config
    config.write_text(config.read_text().replace("worker_type: local", "worker_type: locl"))
    assert "did you mean 'local'" in deployment.ramp(*launch, code=2).stderr


def test_hunger_policy_exit_ends_when_nothing_waits(deployment: Deployment) -> None:
    config = deployment.directory / deployment.event_config
    config.write_text(config.read_text() + "  hunger_policy: exit\n")
    deployment.ramp("launch", "dispatcher", "--event-config", str(deployment.event_config))


def test_a_new_deployment_leads_from_init_to_a_leaderboard(deployment: Deployment) -> None:
    """What ``init`` and ``init-event`` write works as it is."""
    ramp, root = deployment.ramp, deployment.directory
    ramp("setup", "init")
    assert (root / "config.yml").is_file()
    ramp("setup", "init-event", "--name", "mine")
    config = root / "events" / "mine" / "config.yml"
    text = config.read_text()
    python = (root / deployment.event_config).read_text().split("python: ")[1].split()[0]
    assert "worker_type: local" in text
    config.write_text(
        text.replace("worker_type: local", f"python: {python}\n  worker_type: local", 1)
    )
    event = ("--event-config", "events/mine/config.yml")
    ramp("setup", "deploy-event", *event)
    again = ramp("setup", "deploy-event", *event).stdout
    assert "already" in again
    kit = "events/mine/kit/submissions/starting_kit"
    ramp("submit", kit, "--event", "mine", "--team", "blue", "--create-team")
    ramp("launch", "dispatcher", *event, "--exit-when-done", "--n-workers", "1")
    assert len(deployment.json("leaderboard", "--event", "mine")) == 1


def test_completion_is_printed_for_each_shell(deployment: Deployment) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_RAMP_COMPLETE" in deployment.ramp("completion", shell).stdout
