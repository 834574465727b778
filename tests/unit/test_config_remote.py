"""The keys of workers whose folds run on a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ramp_engine.config import EventConfig, load_event
from ramp_engine.errors import ConfigErrors
from ramp_engine.registry import worker_class


def load(tmp_path: Path, **worker: Any) -> EventConfig:
    path = tmp_path / "events" / "iris" / "config.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = {"problem_name": "iris", "event_name": "iris_test"}
    path.write_text(yaml.safe_dump({"ramp": ramp, "worker": worker}))
    return load_event(path, worker_model=lambda name: worker_class(name).config_model)


def test_a_dask_worker_is_configured_as_ramp_shows_it(tmp_path: Path) -> None:
    event = load(
        tmp_path,
        worker_type="dask",
        conda_env="ramp-iris",
        dask_scheduler="tcp://127.0.0.1:8786",
        n_workers=4,
    )
    assert event.dispatcher.n_workers == 4
    config = event.worker_config()
    assert config["conda_env"] == "ramp-iris"
    assert config["dask_scheduler"] == "tcp://127.0.0.1:8786"
    assert config["event"] == "iris_test"


def test_max_workers_of_ray_are_the_workers_of_the_dispatcher(tmp_path: Path) -> None:
    event = load(tmp_path, worker_type="ray", max_workers=3, resources={"V100": 1})
    assert event.dispatcher.n_workers == 3
    assert event.worker["resources"] == {"V100": 1.0}
    with pytest.raises(ConfigErrors, match="max_workers"):
        load(tmp_path, worker_type="ray", max_workers=3, n_workers=4)
    with pytest.raises(ConfigErrors, match="max_workers"):
        load(tmp_path, worker_type="dask", max_workers=3)


def test_paths_on_nodes_stay_and_those_of_this_machine_are_the_events(tmp_path: Path) -> None:
    event = load(
        tmp_path,
        worker_type="dask",
        python="/opt/env/bin/python",
        node_dir="/scratch/../scratch/ramp",
        extra_read_paths=["~/models", "relative"],
        dask_security={"ca_file": "tls/ca.pem", "client_cert": "tls/c.pem", "client_key": "k"},
    )
    config = json.loads(json.dumps(event.worker_config(), default=str))
    assert config["node_dir"] == "/scratch/../scratch/ramp"
    assert config["extra_read_paths"] == ["~/models", "relative"]
    assert config["dask_security"]["ca_file"] == str(event.directory / "tls" / "ca.pem")
    ray = load(tmp_path, worker_type="ray", token_file="token")
    assert ray.worker["token_file"] == event.directory / "token"


@pytest.mark.parametrize(
    ("memory", "mb"),
    [(2048, 2048), ("4 GB", 4096), ("4096", 4096), ("512MiB", 512), ("1.5g", 1536)],
)
def test_memory_is_a_number_of_mb_or_text(tmp_path: Path, memory: object, mb: float) -> None:
    assert load(tmp_path, worker_type="ray", memory=memory).worker["memory"] == mb


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("memory", "much", 'a number of MB, or text such as "4 GB"'),
        ("memory", True, 'a number of MB, or text such as "4 GB"'),
        ("cpus", 0, "a number above 0"),
        ("python", "../env", "a name, or an absolute path on the nodes"),
        ("lease_seconds", 1, "at least 4"),
        ("dask_schedular", "tcp://h:1", "dask_scheduler"),
    ],
)
def test_what_a_key_takes_is_told(tmp_path: Path, key: str, value: object, words: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, worker_type="dask", **{key: value})
    assert words in str(caught.value)


def test_one_environment_is_enough(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="either conda_env or python"):
        load(tmp_path, worker_type="ray", conda_env="a", python="/b")


def test_secrets_are_not_printed(tmp_path: Path) -> None:
    event = load(
        tmp_path,
        worker_type="ray",
        runtime_env={"env_vars": {"HF_TOKEN": "hidden"}},
        bundle_store="s3://key:hidden@bucket/x",
        token_file="token",
    )
    shown = event.to_printable()
    assert "hidden" not in json.dumps(shown)
    assert shown["worker"]["token_file"].endswith("token")
