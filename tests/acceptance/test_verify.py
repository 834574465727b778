"""``ramp verify``: scores as recorded, tampered with, and of another kit."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance.deployment import REPOSITORY, Deployment
from tests.kits.data import make_data

KITS = REPOSITORY / "tests" / "kits"


def predictions(deployment: Deployment, number: int) -> Path:
    return deployment.event / "predictions" / f"submission_{number:09d}"


def contents(directory: Path) -> dict[str, str]:
    """The files that a deployment consists of, but for SQLite's own log."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith("ramp.db-")
    }


def set_bagged(deployment: Deployment, value: float) -> float:
    """Change the bagged score of submission 1 by hand; give what it was."""
    which = "submission_id = 1 AND score_type_id = (SELECT min(id) FROM score_types)"
    read = f"SELECT valid_bag FROM bagged_scores WHERE {which}"  # noqa: S608
    write = f"UPDATE bagged_scores SET valid_bag = ? WHERE {which}"  # noqa: S608
    with contextlib.closing(sqlite3.connect(deployment.directory / "ramp.db")) as connection:
        (old,) = connection.execute(read).fetchone()
        assert connection.execute(write, (value,)).rowcount == 1
        connection.commit()
    return float(old)


def test_scores_as_recorded_are_verified_and_nothing_is_changed(scored: Deployment) -> None:
    before = contents(scored.directory)
    done = scored.ramp("verify", "1", "2")
    n_folds, n_types = len(list(predictions(scored, 1).glob("fold_*"))), 4
    n_scores = (3 * n_folds + 2) * n_types
    assert done.stdout.splitlines() == [
        f"submission {number}: verified, {n_scores} scores equal" for number in (1, 2)
    ]
    assert contents(scored.directory) == before
    assert scored.ramp("verify", "--event", "iris", "--all").stdout == done.stdout


def test_explain_tells_what_an_attempt_was_evaluated_with(scored: Deployment) -> None:
    (attempt,) = scored.json("explain", "1")["attempts"]
    known = attempt["provenance"]
    parts = ("bundle", "kit", "data", "folds", "environment", "submission")
    assert all(len(known[part]) == 64 for part in parts)
    told = scored.ramp("explain", "1").stdout
    assert f"kit {known['kit'][:12]}, data {known['data'][:12]}" in told
    assert f"ramp {known['engine']}" in told


def test_a_changed_prediction_is_found(scored: Deployment) -> None:
    path = predictions(scored, 1) / "fold_0" / "y_pred_test.npz"
    with np.load(path) as arrays:
        np.savez_compressed(path, y_pred=np.roll(arrays["y_pred"], 1, axis=1))
    told = scored.ramp("verify", "1", "2", code=1).stdout.splitlines()
    assert told[0].startswith("submission 1: differs: fold 0 acc test: recorded ")
    assert "submission 2: verified" in told[1]
    path.write_bytes(b"no archive")
    assert "cannot be scored any more: fold 0" in scored.ramp("verify", "1", code=1).stdout


def test_a_changed_row_and_a_file_that_is_gone_are_found(scored: Deployment) -> None:
    value = set_bagged(scored, 1.5)
    told = scored.ramp("verify", "1", code=1).stdout.splitlines()
    assert told == [f"submission 1: differs: acc valid_bag: recorded 1.5, now {value}"]
    assert set_bagged(scored, value) == 1.5
    (predictions(scored, 2) / "bagged_scores.csv").unlink()
    all_ = scored.json("verify", "1")
    assert [(one["finding"], one["differences"]) for one in all_] == [("verified", [])]
    told = scored.ramp("verify", "2", code=1).stdout.splitlines()
    assert "bagged_scores.csv valid 0 acc: recorded missing" in told[0]


def test_scores_of_another_kit_and_deleted_predictions_cannot_be_verified(
    scored: Deployment,
) -> None:
    problem = scored.event / "kit" / "problem.py"
    kit = problem.read_text()
    problem.write_text(kit + "\n# changed\n")
    deploy = ("setup", "deploy-event", "--force", "--event-config", str(scored.event_config))
    scored.ramp(*deploy)
    told = scored.ramp("verify", "1", code=1).stdout
    assert "submission 1: cannot be verified: scored with another kit than deployed now" in told
    assert "`ramp retry 1`" in told
    scored.ramp("retry", "1")
    assert "it is new" in scored.ramp("verify", "1", code=1).stdout
    scored.dispatch()
    mixed = scored.ramp("verify", "--event", "iris", "--all", code=3).stdout.splitlines()
    assert "verified" in mixed[0]
    assert "another kit" in mixed[1]
    problem.write_text(kit)
    scored.ramp(*deploy)
    scored.ramp("verify", "2")
    scored.ramp("database", "delete-predictions", "--event", "iris", "--yes")
    assert "its predictions were deleted on 20" in scored.ramp("verify", "2", code=1).stdout


def test_predictions_of_which_only_those_of_the_test_data_are_kept_are_told_as_such(
    scored: Deployment,
) -> None:
    path = scored.directory / scored.event_config
    chosen = "evaluation:\n  predictions: test-only\n"
    path.write_text(path.read_text().replace("evaluation:\n", chosen))
    number = scored.submit("random_forest", team="blue")
    scored.dispatch()
    folds = sorted((scored.event / "predictions" / f"submission_{number:09d}").glob("fold_*"))
    assert [len(list(fold.glob("y_pred_*"))) for fold in folds] == [1, 1]
    told = scored.ramp("verify", str(number), code=1).stdout
    assert "cannot be verified: of its predictions only those of the test data were kept" in told


@pytest.mark.parametrize("kit", ["own_format", "detection"])
def test_what_a_kit_stores_in_its_own_format_is_told_as_such(
    make_deployment: Callable[..., Deployment], kit: str
) -> None:
    deployment = make_deployment()
    for part in ("kit", "data"):
        shutil.rmtree(deployment.event / part)
    shutil.copytree(KITS / kit, deployment.event / "kit")
    make_data(kit, deployment.event / "data", "")
    deployment.deploy()
    number = deployment.submit("starting_kit")
    deployment.dispatch()
    told = deployment.ramp("verify", str(number), code=1).stdout
    assert told.startswith(f"submission {number}: cannot be verified: this kit's own format")


def test_verify_says_what_it_can_do(deployment: Deployment) -> None:
    for arguments in ((), ("1", "--all"), ("--all",), ("--event", "iris")):
        assert "--all --event NAME" in deployment.ramp("verify", *arguments, code=2).stderr
    assert "999" in deployment.ramp("verify", "999", code=1).stderr
    assert (
        "no submission of iris is scored"
        in deployment.ramp("verify", "--all", "--event", "iris").stderr
    )
