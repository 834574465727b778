"""Ray's runtime environments, on a real cluster: their Python is that of the folds."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.environments import python_in
from ramp_engine.remote.engine import JobEnded
from tests.conda_channel import CondaRoom
from tests.integration.on_cluster import cluster_event
from tests.remote.engine_process import EngineProcess
from tests.remote.ray_cluster import RayCluster

TELLING = """
import os, sys
from nearest import NearestMean
from {module} import ANSWER

def get_estimator():
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES") or "none"
    print("folds have", sys.executable, ANSWER, os.environ.get("MARK"), gpus, flush=True)
    return NearestMean()
"""


@pytest.fixture(scope="module")
def cluster(conda_room: CondaRoom) -> Iterator[RayCluster]:
    """A node whose Python is no virtual environment: Ray would copy all of that for `pip`."""
    variables = {"CONDA_EXE": str(conda_room.program)}
    of_all = {"head": variables, "only": variables | {"CUDA_VISIBLE_DEVICES": "4,7"}}
    python = python_in(conda_room.prefix("kitenv"))
    nodes = {"only": ["--num-cpus=2", "--num-gpus=2"]}
    with RayCluster(nodes, variables_of=of_all, python=python) as cluster:
        yield cluster


def said_by_a_fold(
    cluster: RayCluster, runtime_env: dict[str, Any], module: str, **more: Any
) -> list[str]:
    """Evaluate a submission that imports something; give the words of its log that tell of it."""
    worker = {"worker_type": "ray", "ray_address": cluster.address, "python": None}
    keys = worker | {"runtime_env": runtime_env} | more
    with cluster_event("env", keys) as event, event.dispatching():
        number = event.submit(TELLING.format(module=module))
        assert event.await_scored(number) == ["succeeded"]
        event.check()
        lines = event.log(number).splitlines()
    return next(line for line in lines if line.startswith("folds have")).split()


def test_folds_import_what_pip_of_a_runtime_env_installs(
    cluster: RayCluster, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "pipped")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "beside.py").write_text("for ramp alone")
    runtime_env = {
        "pip": [str(wheel)],
        "working_dir": str(tmp_path / "code"),
        "env_vars": {"MARK": "theirs"},
    }
    *_, python, answer, mark, gpus = said_by_a_fold(cluster, runtime_env, "pipped")
    assert "/runtime_resources/pip/" in python
    assert (answer, mark, gpus) == ("42", "None", "none")


def test_folds_run_in_the_conda_environment_of_a_runtime_env_with_the_gpu_that_ray_assigns(
    cluster: RayCluster, conda_room: CondaRoom
) -> None:
    told = said_by_a_fold(cluster, {"conda": "kitenv"}, "toykit", gpus=1)
    *_, python, answer, _, gpu = told
    assert Path(python) == python_in(conda_room.prefix("kitenv"))
    assert answer == "42"
    assert gpu in ("4", "7")


def test_a_runtime_env_that_cannot_be_made_is_told_with_the_reason(cluster: RayCluster) -> None:
    config = {"event": "env", "ray_address": cluster.address}
    with pytest.raises(RuntimeError, match=r"WorkerSetupError: .*runtime env.*podman"):
        EngineProcess(config | {"runtime_env": {"image_uri": "nowhere/nothing"}})


def test_auto_is_the_cluster_of_this_machine(
    cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)  # else: one of all that run here
    with EngineProcess({"event": "env", "ray_address": "auto"}) as engine:
        assert set(engine.nodes()) == {"head", "only"}
        engine.submit("job")
        assert isinstance(engine.end_of("job"), JobEnded)


def make_wheel(folder: Path, name: str) -> Path:
    """Make a package that answers."""
    wheel, facts = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", "ANSWER = 42\n")
        archive.writestr(
            f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{facts}/RECORD", "")
    return wheel
