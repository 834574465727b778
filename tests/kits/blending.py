"""Blend submissions, by the engine's command and by ``ramp-blend``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rampwf.utils.testing import blend_submissions

from ramp_engine.evaluation.blend import blend
from ramp_engine.evaluation.fold_blend import Candidate
from ramp_engine.evaluation.kit import working_directory
from tests.kits.evaluation import Event, Result, run, run_many

#: What ``ramp-blend --save-output`` writes.
FILES = ("contributivities.csv", "bagged_scores_combined.csv", "bagged_scores_foldwise_best.csv")


def evaluate_all(event: Event, submissions: Sequence[Path]) -> None:
    """Train and score submissions of a prepared event, in one process."""
    folds = [(event.fold_arguments(one), event.log(one)) for one in submissions]
    scores = [
        (event.score_arguments(one.name, event.output(one)), event.log(one)) for one in submissions
    ]
    for result in run_many([*folds, *scores]):
        assert result.code == 0, result.log


class Blending:
    """Scored submissions of an event, numbered from 1, and what blends them.

    Parameters
    ----------
    event : Event
        Prepared.
    """

    def __init__(self, event: Event) -> None:
        self.event = event
        self.root = event.root / "blending"
        self.n = 0
        self.attempts: dict[str, int] = {}

    def folder(self, name: str) -> Path:
        """The published predictions of a submission."""
        return self.root / "submissions" / name / "training_output"

    def add(self, scored: Path) -> str:
        """Add a submission with the predictions of a folder; give its name."""
        self.n += 1
        name = f"submission_{self.n:09d}"
        shutil.copytree(scored, self.folder(name))
        self.attempts[name] = 1
        return name

    def add_mixed(self, scored: Path, seed: int, weight: float = 0.5, dtype: Any = float) -> str:
        """Add one whose predictions are those of a folder mixed with random ones."""
        name = self.add(scored)
        for path in sorted(self.folder(name).glob("fold_*/y_pred_*.npz")):
            with np.load(path) as arrays:
                y_pred = arrays["y_pred"]
            random = np.random.default_rng([seed, len(y_pred)])
            if y_pred.ndim == 1:
                mixed = y_pred + random.normal(scale=3 * (1 - weight), size=len(y_pred))
            else:
                noise = random.dirichlet(np.ones(y_pred.shape[1]), len(y_pred))
                mixed = weight * y_pred + (1 - weight) * noise
            np.savez_compressed(path, y_pred=mixed.astype(dtype))
        return name

    def blended(self, min_improvement: float = 0.0) -> dict[str, Any]:
        """Blend in this process."""
        labels, cache = self.event.bundle / "labels", self.root / "cache"
        candidates = [
            Candidate(name, attempt, self.folder(name))
            for name, attempt in sorted(self.attempts.items())
        ]
        return blend(
            labels, self.event.data, candidates, cache, self.root / "output", min_improvement
        )

    def run_command(self, *more: str) -> Result:
        """Run the engine's command, in a process of its own."""
        listed = self.root / "submissions.json"
        rows = [
            {"name": name, "attempt": attempt, "folder": str(self.folder(name))}
            for name, attempt in sorted(self.attempts.items())
        ]
        listed.write_text(json.dumps(rows))
        places = {
            "labels": self.event.bundle / "labels",
            "data": self.event.data,
            "submissions": listed,
            "cache": self.root / "cache",
            "output": self.root / "output",
            "result": self.root / "result.json",
        }
        options = [text for name, place in places.items() for text in (f"--{name}", str(place))]
        return run(["blend", *options, *more], self.root / "log")

    def ramp_blend(self, min_improvement: float = 0.0) -> Path:
        """Blend with the function of ``ramp-blend --save-output``, in this process.

        Returns
        -------
        Path
            The folder of its files.
        """
        submissions = self.root / "submissions"
        with working_directory(self.event.data):
            blend_submissions(
                sorted(self.attempts),
                ramp_kit_dir=str(self.event.kit),
                ramp_data_dir=".",
                ramp_submission_dir=str(submissions),
                save_output=True,
                min_improvement=min_improvement,
            )
        return submissions / "training_output"

    def run_ramp_blend(self, *more: str) -> Path:
        """Run the real ``ramp-blend``; give the folder of its files."""
        command = [
            str(Path(sys.executable).with_name("ramp-blend")), "--save-output",
            "--ramp-kit-dir", str(self.event.kit), "--ramp-data-dir", ".",
            "--ramp-submission-dir", str(self.root / "submissions"),
            "--submissions", repr(sorted(self.attempts)), *more,
        ]  # fmt: skip
        subprocess.run(command, cwd=self.event.data, check=True, capture_output=True)
        return self.root / "submissions" / "training_output"

    def differing_files(self, theirs: Path) -> list[str]:
        """Name the files of ours that are not theirs, byte by byte."""
        ours = self.root / "output"
        return [
            name for name in FILES if (ours / name).read_bytes() != (theirs / name).read_bytes()
        ]
