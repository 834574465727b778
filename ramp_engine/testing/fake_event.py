"""A deployed event that needs no environment and no data, for `FakeWorker`."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ramp_database.events import EventSpec
from ramp_database.provenance import PARTS
from ramp_database.results import Results
from ramp_database.session import Database
from ramp_database.testing import TOY, add_toy_event, toy_results, toy_spec
from ramp_engine.config import EventConfig, load_event
from ramp_engine.preparation import Bundle

__all__ = ["canned_scores", "deploy_fake_event"]


def deploy_fake_event(
    database: Database,
    directory: Path,
    *,
    name: str = TOY,
    worker: dict[str, Any] | None = None,
    **dispatcher: Any,
) -> EventConfig:
    """Deploy the toy event of `ramp_database.testing` with fake workers.

    There is a bundle, but nothing in it: whoever runs a dispatcher gives it `canned_scores` as
    its score step, or has that step fail.

    Parameters
    ----------
    database : Database
        Gets the event.
    directory : Path
        Gets its folder.
    name : str
        Of the event and its problem.
    worker : dict, optional
        Keys of `FakeWorkerConfig`, or of another worker when ``worker_type`` is among them.
    **dispatcher
        Keys of the section ``dispatcher``.
    """
    with database.session() as session:
        add_toy_event(session, name)
    spec = toy_spec()
    for half in ("public", "labels"):
        manifest = directory / name / "work" / "bundles" / spec.bundle_hash / half / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps({"hashes": _hashes(spec)}))
    folds = directory / name / "work" / "bundles" / spec.bundle_hash / "public" / "folds"
    folds.mkdir()
    for number, fold in enumerate(spec.folds):
        (folds / f"fold_{number}.npz").write_bytes(fold.indices)
    path = directory / name / "config.yml"
    sections = {
        "ramp": {"problem_name": name, "event_name": name},
        "evaluation": {"python": sys.executable},
        "worker": {"worker_type": "ramp_engine.testing:FakeWorker"} | (worker or {}),
        "dispatcher": {"time_between_collection": 60.0} | dispatcher,
    }
    path.write_text(yaml.safe_dump(sections))
    return load_event(path)


def _hashes(spec: EventSpec) -> dict[str, str]:
    return {name: getattr(spec, f"{name}_hash") for name in PARTS}


def canned_scores(
    event: EventConfig,  # noqa: ARG001  the signature of a score step
    python: Path,  # noqa: ARG001
    bundle: Bundle,  # noqa: ARG001
    predictions: Path,
    output: Path,
    log_path: Path,  # noqa: ARG001
    stopping: threading.Event | None = None,  # noqa: ARG001
    *,
    folds: Sequence[int] | None = None,
) -> Results:
    """Answer as `ramp_engine.scoring.score_predictions` would, without looking into predictions."""
    if folds is not None:
        of_all = toy_results(0.5).folds
        return Results(tuple(of_all[number] for number in folds), {})
    for fold in predictions.glob("fold_*"):
        shutil.copytree(fold, output / fold.name)
    output.mkdir(exist_ok=True)
    return toy_results(0.5)
