"""What a node of a Dask cluster has: conda environments, a way to S3, GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from ramp_engine.environments import python_in
from tests.conda_channel import CondaRoom
from tests.integration.on_cluster import cluster_event
from tests.remote.dask_cluster import DaskCluster
from tests.remote.s3_bucket import objects_in, s3_bucket

TELLING = """
import os, sys
from nearest import NearestMean
from toykit import ANSWER

def get_estimator():
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES") or "none"
    print("folds have", sys.executable, ANSWER, gpus, flush=True)
    return NearestMean()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as url:
        yield url


@pytest.fixture(scope="module")
def cluster(conda_room: CondaRoom, bucket: str) -> Iterator[DaskCluster]:
    """One node that has a conda program, and the second of the GPUs of its machine."""
    program = f"{conda_room.program.parent}:{os.environ['PATH']}"
    has = {"PATH": program, "CUDA_VISIBLE_DEVICES": "1"}
    with DaskCluster(1, n_threads=2, resources="GPU=1", environment=has) as found:
        yield found


def said_by_folds(cluster: DaskCluster, **worker: Any) -> list[str]:
    """Evaluate a submission; give the words of its log that tell what the first fold had."""
    keys = {"worker_type": "dask", "dask_scheduler": cluster.address, "python": None}
    with cluster_event("has", keys | worker) as event, event.dispatching():
        number = event.submit(TELLING)
        assert event.await_scored(number) == ["succeeded"]
        event.check()
        lines = event.log(number).splitlines()
    return next(line for line in lines if line.startswith("folds have")).split()


def test_folds_have_a_conda_environment_by_its_name_and_the_bundle_of_s3(
    cluster: DaskCluster, conda_room: CondaRoom, bucket: str
) -> None:
    told = said_by_folds(cluster, conda_env="kitenv", bundle_store=f"{bucket}/ramp")
    python = str(python_in(conda_room.prefix("kitenv")))
    assert told == ["folds", "have", python, "42", "none"]
    (stored,) = objects_in(bucket)
    assert stored["Key"].startswith("ramp/")


def test_folds_have_a_conda_environment_by_its_prefix_and_the_gpu_of_the_worker(
    cluster: DaskCluster, conda_room: CondaRoom
) -> None:
    prefix = conda_room.prefix("kitenv")
    told = said_by_folds(cluster, conda_env=str(prefix), gpus=1)
    assert told == ["folds", "have", str(python_in(prefix)), "42", "1"]
