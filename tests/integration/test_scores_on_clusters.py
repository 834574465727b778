"""The bundled kits score on Dask and Ray clusters as they do with the local worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.local import LocalWorker
from ramp_engine.testing import ToyEvent
from tests.kits.comparison import differences
from tests.kits.evaluation import Event, bundled_event, run_many
from tests.remote.cluster_workers import ClusterWorkers, dask_workers, ray_workers
from tests.remote.dask_cluster import DaskCluster
from tests.remote.ray_cluster import RayCluster

KITS = {"iris": ("starting_kit", "random_forest", "sepals"), "digits": ("starting_kit",)}
OpenWorkers = Callable[..., AbstractContextManager[ClusterWorkers]]


class Kit:
    """A bundled kit, and what becomes of its submissions with the local worker.

    Parameters
    ----------
    name : str
    folder : Path
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._folder = name, folder
        self._event: Event = bundled_event(name, folder)
        assert self._event.prepare().code == 0
        config = self.config("local")
        with LocalWorker.open_shared(config) as shared:
            for submission in KITS[name]:
                worker = LocalWorker(config, submission)
                worker.shared = shared
                assert worker.launch() == (0, "")
        self._not_scored = ["local"]

    def config(self, side: str) -> dict[str, Any]:
        event = self._event
        return {
            "submissions_dir": str(event.kit / "submissions"),
            "predictions_dir": str(self._folder / side / "predictions"),
            "logs_dir": str(self._folder / side / "logs"),
            "kit_dir": str(event.kit),
            "data_dir": str(event.data),
            "bundle_dir": str(event.bundle / "public"),
            "work_dir": str(self._folder / side / "work"),
            "n_folds": event.prepared["n_folds"],
            "n_threads": 1,
            "python": sys.executable,
            "sandbox": "off",
            "event": self.name,
        }

    def score(self, side: str) -> None:
        """Score what was predicted on a side; with the first one, locally too."""
        commands = []
        for where in [*self._not_scored, side]:
            for submission in KITS[self.name]:
                predictions = self._folder / where / "predictions" / submission
                arguments = self._event.score_arguments(f"{where}-{submission}", predictions)
                commands.append((arguments, self._folder / f"{where}-{submission}.log"))
        assert [result.code for result in run_many(commands)] == [0] * len(commands)
        self._not_scored = []

    def made(self, side: str) -> list[Path]:
        """List where predictions and scores of a side are, submission by submission."""
        predictions, scored = self._folder / side / "predictions", self._folder / "scored"
        names = KITS[self.name]
        return [place for n in names for place in (predictions / n, scored / f"{side}-{n}")]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Kit]:
    return cache(lambda name: Kit(name, tmp_path_factory.mktemp(name) / "event"))


@pytest.fixture(scope="module", params=["dask", "ray"])
def open_workers(request: pytest.FixtureRequest, toy_event: ToyEvent) -> Iterator[OpenWorkers]:
    if request.param == "dask":
        with DaskCluster(n_nodes=1, n_threads=2) as dask:
            yield partial(dask_workers, dask, toy_event)
    else:
        with RayCluster({"only": ["--num-cpus=2"]}) as ray:
            yield partial(ray_workers, ray, toy_event)


@pytest.mark.parametrize("name", list(KITS))
def test_scores_equal_those_of_the_local_worker(
    kit: Callable[[str], Kit], open_workers: OpenWorkers, name: str, request: Any
) -> None:
    ours, side = kit(name), request.node.callspec.params["open_workers"]
    with open_workers(**ours.config(side)) as workers:
        for submission in KITS[name]:
            assert workers.of(workers.keys, submission).launch() == (0, "")
    ours.score(side)
    for local, remote in zip(ours.made("local"), ours.made(side), strict=True):
        assert list(local.rglob("*.npz"))
        assert differences(local, remote) == []
