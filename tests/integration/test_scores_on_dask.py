"""The bundled kits score on a Dask cluster as they do with the local worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.local import LocalWorker
from ramp_engine.remote import DaskWorker
from ramp_engine.remote.gateway.client import GatewayClient
from tests.integration.on_dask import ENVIRONMENT
from tests.kits.comparison import differences
from tests.kits.evaluation import Event, bundled_event, run_many
from tests.remote.dask_cluster import DaskCluster
from tests.remote.dask_room import DaskRoom


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    with DaskCluster(n_nodes=2, environment=ENVIRONMENT) as found:
        yield found


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("iris", ["starting_kit", "random_forest", "sepals"]), ("digits", ["starting_kit"])],
)
def test_scores_equal_those_of_the_local_worker(
    cluster: DaskCluster, tmp_path: Path, name: str, chosen: list[str]
) -> None:
    event = bundled_event(name, tmp_path / "event")
    assert event.prepare().code == 0
    keys = {"node_dir": str(tmp_path / "nodes"), "dask_scheduler": cluster.address}
    with (
        GatewayClient("dask", worker_config(event, tmp_path / "none") | keys) as client,
        LocalWorker.open_shared(worker_config(event, tmp_path / "local")) as shared,
    ):
        for submission in chosen:
            local = LocalWorker(worker_config(event, tmp_path / "local"), submission)
            remote = DaskWorker(worker_config(event, tmp_path / "dask") | keys, submission)
            local.shared, remote.shared = shared, client
            assert (local.launch(), remote.launch()) == ((0, ""), (0, ""))
    places = [tmp_path / where / "predictions" / one for where in PLACES for one in chosen]
    commands = [
        (event.score_arguments(f"{place.parents[1].name}-{place.name}", place), tmp_path / "log")
        for place in places
    ]
    assert [result.code for result in run_many(commands)] == [0] * len(commands)
    scored = tmp_path / "event" / "scored"
    for submission in chosen:
        ours, theirs = (scored / f"{where}-{submission}" for where in PLACES)
        assert list(ours.rglob("*.npz"))
        assert differences(ours, theirs) == []
    DaskRoom(cluster, worker_config(event, tmp_path / "dask") | keys).await_no_agents()


PLACES = ("local", "dask")


def worker_config(event: Event, folder: Path) -> dict[str, Any]:
    return {
        "submissions_dir": str(event.kit / "submissions"),
        "predictions_dir": str(folder / "predictions"),
        "logs_dir": str(folder / "logs"),
        "kit_dir": str(event.kit),
        "data_dir": str(event.data),
        "bundle_dir": str(event.bundle / "public"),
        "work_dir": str(folder / "work"),
        "n_folds": event.prepared["n_folds"],
        "n_threads": 1,
        "python": sys.executable,
        "sandbox": "off",
        "event": "kit",
    }
