"""A deployed event that needs no environment and no data, for `FakeWorker`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from ramp_database.results import Results
from ramp_database.session import Database
from ramp_database.testing import TOY, add_toy_event, toy_results, toy_spec
from ramp_engine.config import EventConfig, load_event

__all__ = ["canned_scores", "deploy_fake_event"]


def deploy_fake_event(
    database: Database,
    directory: Path,
    *,
    worker: dict[str, Any] | None = None,
    **dispatcher: Any,
) -> EventConfig:
    """Deploy the toy event of `ramp_database.testing` with fake workers.

    There is a bundle, but nothing in it: whoever runs a dispatcher puts `canned_scores` in place of
    `ramp_engine.run.score_predictions`, or has the score step fail.

    Parameters
    ----------
    database : Database
        Gets the event.
    directory : Path
        Gets its folder.
    worker : dict, optional
        Keys of `FakeWorkerConfig`.
    **dispatcher
        Keys of the section ``dispatcher``.
    """
    with database.session() as session:
        add_toy_event(session)
    spec = toy_spec()
    for half in ("public", "labels"):
        manifest = directory / TOY / "work" / "bundles" / spec.bundle_hash / half / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}")
    folds = directory / TOY / "work" / "bundles" / spec.bundle_hash / "public" / "folds"
    folds.mkdir()
    for number, fold in enumerate(spec.folds):
        (folds / f"fold_{number}.npz").write_bytes(fold.indices)
    path = directory / TOY / "config.yml"
    sections = {
        "ramp": {"problem_name": TOY, "event_name": TOY},
        "evaluation": {"python": sys.executable},
        "worker": {"worker_type": "ramp_engine.testing:FakeWorker"} | (worker or {}),
        "dispatcher": {"time_between_collection": 60.0} | dispatcher,
    }
    path.write_text(yaml.safe_dump(sections))
    return load_event(path)


def canned_scores(*arguments: Any) -> Results:
    """Answer as `ramp_engine.scoring.score_predictions` would, without looking at predictions."""
    output: Path = arguments[4]
    output.mkdir()
    return toy_results(0.5)
