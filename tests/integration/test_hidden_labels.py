"""With ``hide_validation_labels`` a fold finds no hidden label, and scores as it does without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ramp_engine.evaluation import fingerprint
from tests.integration.confined import SITE, Variant
from tests.kits import label_spy
from tests.kits.comparison import differences
from tests.kits.evaluation import EVALUATION, Event, Result, bundled_event, event_of, run_many

HIDE = "--hide-validation-labels"
LEVELS = ("none", "landlock", "namespaces")


def two_folds(root: Path) -> Event:
    """Make an event whose labels are all different, drawn into two folds that overlap."""
    event = event_of("regression", root)
    change(event, "n_splits=1", "n_splits=2")
    return event


def change(event: Event, old: str, new: str) -> None:
    problem = event.kit / "problem.py"
    assert old in problem.read_text()
    problem.write_text(problem.read_text().replace(old, new))


# -- nothing can be found -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[True, False], ids=["hidden", "shown"])
def spied(request: pytest.FixtureRequest) -> Iterator[Event]:
    """An event in a folder that is open to whoever is confined."""
    with tempfile.TemporaryDirectory(prefix="ramp-spied-") as folder:
        Path(folder).chmod(0o755)
        event = two_folds(Path(folder))
        assert event.prepare(*([HIDE] if request.param else [])).code == 0
        yield event


def labels_of(event: Event) -> Any:
    return np.load(event.bundle / "labels" / "y_train.npy")


def spy(event: Event, level: str) -> list[dict[str, list[int]]]:
    """Run the spy; tell for each fold which labels it has found in its memory and in files."""
    submission = event.root / "submissions" / f"spy_{level}"
    submission.mkdir(parents=True)
    shutil.copy(Path(label_spy.__file__), submission / "regressor.py")
    files = [str(path) for path in event.root.rglob("*") if path.is_file()]
    needles = {"files": files, "needles": label_spy.changed(labels_of(event))}
    (submission / "needles.json").write_text(json.dumps(needles))
    variant = Variant(level, is_root=os.geteuid() == 0)
    sandbox = {"level": level, **({} if level == "none" else variant.identity())}
    python = sys.executable if level == "none" else variant.interpreter()
    arguments = event.fold_arguments(submission, "--sandbox", json.dumps(sandbox))
    done = subprocess.run(
        [python, "-s", str(EVALUATION), *arguments],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": SITE},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    return [json.loads(line.removeprefix("found ")) for line in lines if line.startswith("found ")]


@pytest.mark.parametrize("level", LEVELS)
def test_a_fold_finds_no_label_that_is_hidden_from_it(spied: Event, level: str) -> None:
    is_hidden = not (spied.bundle / "public" / "train" / "y.npy").exists()
    everything = list(range(len(labels_of(spied))))
    found = spy(spied, level)
    assert len(found) == 2
    for number, one in enumerate(found):
        with np.load(spied.bundle / "public" / "folds" / f"fold_{number}.npz") as fold:
            shown = sorted(fold["train"].tolist())
        assert shown != everything
        assert one["memory"] == (shown if is_hidden else everything)
        on_disk = shown if is_hidden and level != "none" else everything
        assert one["files"] == on_disk


# -- scores are the same ---------------------------------------------------------------------------

KITS = ["iris", "digits", "regression", "combined", "detection", "bare", "files"]
STARTING_KIT = Path("submissions", "starting_kit")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Event]]:
    """Events, each scored with its validation labels hidden and shown."""
    made: dict[str, list[Event]] = {}
    for kit in KITS:
        root = tmp_path_factory.mktemp(kit)
        is_bundled = kit in ("iris", "digits")
        event = bundled_event(kit, root) if is_bundled else event_of(kit, root, "relative")
        made[kit] = [Event(root / name, event.kit, event.data) for name in ("hidden", "shown")]
    events = [event for pair in made.values() for event in pair]
    for event in events:
        event.root.mkdir()
    hidden = [pair[0] for pair in made.values()]
    prepared = _run(events, lambda e: e.prepare_arguments(*([HIDE] if e in hidden else [])))
    for event, result in zip(events, prepared, strict=True):
        event.prepared = result.content
    _run(events, lambda event: event.fold_arguments(event.kit / STARTING_KIT))
    _run(events, lambda event: event.score_arguments("starting_kit", event.output(STARTING_KIT)))
    return made


def _run(events: list[Event], arguments: Callable[[Event], list[str]]) -> list[Result]:
    results = run_many([(arguments(event), event.root / "log") for event in events])
    for result in results:
        assert result.code == 0, result.log
    return results


@pytest.mark.parametrize("kit", KITS)
def test_who_trains_on_the_training_rows_scores_the_same(
    kit: str, pairs: dict[str, list[Event]]
) -> None:
    hidden, shown = pairs[kit]
    assert differences(hidden.scored(STARTING_KIT), shown.scored(STARTING_KIT)) == []
    assert (hidden.scored(STARTING_KIT) / "bagged_scores.csv").is_file()
    assert "hidden" in (hidden.root / "log").read_text()
    assert "hidden" not in (shown.root / "log").read_text()


# -- the bundle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kit", KITS)
def test_the_public_part_holds_the_labels_of_each_fold_and_no_others(
    kit: str, pairs: dict[str, list[Event]]
) -> None:
    names = []
    for event in pairs[kit]:
        public = event.bundle / "public"
        found = {path.relative_to(public).parent for path in public.rglob("y.*")}
        names.append({str(folder) for folder in found})
    n_folds = pairs[kit][0].prepared["n_folds"]
    assert names == [{f"masked/fold_{number}" for number in range(n_folds)}, {"train"}]


def test_the_name_of_a_bundle_tells_whether_labels_are_hidden(
    pairs: dict[str, list[Event]],
) -> None:
    hidden, shown = (event.prepared for event in pairs["iris"])
    assert hidden["hashes"] == shown["hashes"]
    names = [fingerprint.bundle_hash(shown["hashes"], None, flag) for flag in (True, False)]
    assert [hidden["bundle"], shown["bundle"]] == names


def test_a_bundle_without_the_choice_shows_them_and_one_that_lost_them_is_our_fault(
    pairs: dict[str, list[Event]],
) -> None:
    hidden, shown = pairs["iris"]
    manifest = shown.bundle / "public" / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["hides_validation_labels"]
    manifest.write_text(json.dumps(content))
    shutil.rmtree(hidden.bundle / "public" / "masked" / "fold_1")
    lost, old = run_many(
        [
            (event.fold_arguments(event.kit / STARTING_KIT), event.root / "again")
            for event in (hidden, shown)
        ]
    )
    assert old.code == 0, old.log
    assert (lost.code, "fold_1 holds no labels" in lost.error["message"]) == (3, True)


# -- kits that do not allow it ---------------------------------------------------------------------


def test_a_workflow_that_trains_on_other_rows_fails_and_the_log_says_why(tmp_path: Path) -> None:
    event = two_folds(tmp_path)
    change(
        event,
        "workflow = rw.workflows.Regressor()",
        "class Regressor(rw.workflows.Regressor):\n"
        "    def train_submission(self, path, X, y, train_is=None):\n"
        "        return super().train_submission(path, X, y)\n\n\n"
        "workflow = Regressor()",
    )
    assert event.prepare(HIDE).code == 0
    result = event.fold(event.kit / STARTING_KIT)
    assert (result.code, result.content["folds"][0]["state"]) == (1, "training_error")
    assert "NaN" in result.content["folds"][0]["error"]
    assert "The labels of a fold's validation part are hidden from it." in result.log


def test_labels_that_cannot_be_hidden_are_refused_when_the_bundle_is_made(tmp_path: Path) -> None:
    kinds = {
        'list(zip(data["price"], map(type, data["price"])))': "is or holds a builtins.type",
        "np.ma.masked_array(data['price'])": "is or holds a numpy.ma.MaskedArray",
        'np.array(["data/train.csv"] * len(data))': "y_train refers to files (data/train.csv",
    }
    events = []
    for number, kind in enumerate(kinds):
        events.append(two_folds(tmp_path / str(number)))
        change(events[-1], 'data["price"].to_numpy()', kind)
        change(events[-1], "import os\n", "import os\n\nimport numpy as np\n")
        change(events[-1], "make_regression()", "make_detection()")  # it takes any label
    results = run_many([(event.prepare_arguments(HIDE), event.root / "log") for event in events])
    for event, result, message in zip(events, results, kinds.values(), strict=True):
        assert result.code == 3, result.log
        assert message in result.error["message"]
        assert "hide_validation_labels" in result.error["hint"]
        assert list(event.bundles.iterdir()) == []
