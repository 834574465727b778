"""``ramp database compute-contributivity``, and what the leaderboard shows of it."""

from __future__ import annotations

import pytest

from tests.acceptance.deployment import Deployment

COMPUTE = ("database", "compute-contributivity", "--event-config", "events/iris/config.yml")


def test_contributivity_is_computed_once_and_shown(scored: Deployment) -> None:
    assert "contributivity" not in scored.ramp("leaderboard", "--event", "iris").stdout
    rows = scored.json("leaderboard", "--event", "iris")
    assert [row["contributivity"] for row in rows] == [None, None]
    assert "2 submissions of iris blended" in scored.ramp(*COMPUTE).stdout
    done = scored.ramp("leaderboard", "--event", "iris")
    assert "contributivity" in done.stdout
    assert "blend of 2 submissions: acc 0." in done.stderr
    assert "(test)" not in done.stderr
    private = scored.ramp("leaderboard", "--event", "iris", "--private")
    assert "contributivity" in private.stdout
    assert "(test)" in private.stderr
    rows = scored.json("leaderboard", "--event", "iris")
    shares = {row["submission_id"]: row["contributivity"] for row in rows}
    assert sum(shares.values()) == pytest.approx(100)
    assert "nothing has changed" in scored.ramp(*COMPUTE).stdout
    forced = scored.json(*COMPUTE, "--force")
    assert {int(number): share for number, share in forced["percents"].items()} == shares
    assert 0 < forced["combined"]["valid"] <= 1
    log = scored.event / "work" / "blend.log"
    assert log.stat().st_mode & 0o77 == 0, "it tells test scores"


def test_a_new_submission_takes_its_share_and_a_reopened_one_loses_it(scored: Deployment) -> None:
    scored.ramp(*COMPUTE)
    number = scored.submit("random_forest", team="green")
    scored.dispatch()
    rows = scored.json("leaderboard", "--event", "iris")
    assert [row["contributivity"] for row in rows if row["submission_id"] == number] == [None]
    scored.ramp(*COMPUTE)
    rows = scored.json("leaderboard", "--event", "iris")
    shares = {row["submission_id"]: row["contributivity"] for row in rows}
    assert shares[number] > 0
    assert sum(shares.values()) == pytest.approx(100)
    scored.ramp("retry", str(number))
    scored.dispatch()
    rows = scored.json("leaderboard", "--event", "iris")
    assert [row["contributivity"] for row in rows if row["submission_id"] == number] == [None]


def test_deleted_predictions_are_told_and_no_copy_of_them_is_kept(scored: Deployment) -> None:
    scored.ramp(*COMPUTE)
    kept = scored.event / "work" / "blend"
    assert list(kept.rglob("*.npy"))
    before = scored.json("leaderboard", "--event", "iris")
    scored.ramp("database", "delete-predictions", "--event", "iris", "--yes")
    assert list(kept.rglob("*.npy")) == []
    told = scored.ramp(*COMPUTE, code=1).stderr
    assert "submission 1 is left out: its predictions are gone" in told
    assert scored.json("leaderboard", "--event", "iris") == before, "what was computed stays"
    scored.submit("random_forest", team="green")
    scored.dispatch()
    assert "1 submissions of iris blended" in scored.ramp(*COMPUTE, code=3).stdout


def test_without_scores_there_is_nothing_to_blend(deployment: Deployment) -> None:
    assert "no submission of iris is scored" in deployment.ramp(*COMPUTE).stderr
