"""The files that ``ramp setup init`` and ``init-event`` write: templates, filled in."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["DEPLOYMENT", "EVENT", "KIT", "write"]

#: Files of a deployment: the path within its folder and the template.
DEPLOYMENT = {"config.yml": "deployment.yml.in"}
#: Files of an event whose kit lies elsewhere.
EVENT = {"config.yml": "event.yml.in"}
#: Files of a small kit that works.
KIT = {
    "kit/problem.py": "problem.py.in",
    "kit/submissions/starting_kit/estimator.py": "estimator.py.in",
    "kit/requirements.txt": "requirements.txt.in",
    "kit/environment.yml": "environment.yml.in",
    "data/prepare_data.py": "prepare_data.py.in",
}


def write(files: dict[str, str], directory: Path, **names: str) -> list[Path]:
    """Write files from their templates; those that are there stay as they are.

    Parameters
    ----------
    files : dict of str
        The path of each file within `directory`, and its template.
    directory : Path
        Made when missing.
    **names
        ``event="iris"`` stands in place of ``@EVENT@``.

    Returns
    -------
    list of Path
        What was written.
    """
    templates = resources.files("ramp_engine.cli") / "templates"
    written = []
    for name, template in files.items():
        path = directory / name
        if path.exists():
            continue
        text = (templates / template).read_text(encoding="utf-8")
        for key, value in names.items():
            text = text.replace(f"@{key.upper()}@", value)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
