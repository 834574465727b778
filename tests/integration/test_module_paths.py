"""Where modules come from is shown to a submission, but for what would show it the event."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from tests.kits.evaluation import bundled_event

LOOKS = """
from pathlib import Path
from sklearn.tree import DecisionTreeClassifier

class Model(DecisionTreeClassifier):
    def fit(self, X, y):
        for path in {paths!r}:
            print("SEES" if Path(path).exists() else "MISSES", path)
        return super().fit(X, y)

def get_estimator():
    return Model()
"""


def test_a_path_of_modules_above_the_event_is_not_shown() -> None:
    with tempfile.TemporaryDirectory(prefix="ramp-paths-") as folder:
        root, library = Path(folder, "deployment"), Path(folder, "library")
        for path in (root, library):
            path.mkdir()
            (path / "module.py").touch()
        event = bundled_event("iris", root)
        problem = event.kit / "problem.py"
        added = f"import sys; sys.path += [{str(root)!r}, {str(library)!r}]\n"
        problem.write_text(added + problem.read_text())
        assert event.prepare().code == 0
        submission = root / "submission"
        submission.mkdir()
        paths = [str(path / "module.py") for path in (root, library)]
        (submission / "estimator.py").write_text(LOOKS.format(paths=paths))
        who = {"uid": 65534, "gid": 65534} if os.geteuid() == 0 else {}
        sandbox = {"level": "namespaces", **who}
        result = event.fold(submission, "--sandbox", json.dumps(sandbox))
        assert result.code == 0, result.log
        assert f"MISSES {paths[0]}" in result.log
        assert f"SEES {paths[1]}" in result.log
