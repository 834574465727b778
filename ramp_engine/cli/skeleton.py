"""The files that ``ramp setup init``, ``init-event`` and ``init-worker`` write from templates."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

__all__ = ["DEPLOYMENT", "EVENT", "KIT", "WorkerNames", "write"]

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
#: Files of a package with a worker, as `WorkerNames.files` places them.
_WORKER = {
    "pyproject.toml": "worker/pyproject.toml.in",
    "README.md": "worker/README.md.in",
    "src/@PACKAGE@/__init__.py": "worker/__init__.py.in",
    "src/@PACKAGE@/worker.py": "worker/worker.py.in",
    "src/@PACKAGE@/py.typed": "worker/py.typed.in",
    "tests/test_worker.py": "worker/test_worker.py.in",
}


@dataclass(frozen=True)
class WorkerNames:
    """What is called how in a package with a worker.

    Parameters
    ----------
    name : str
        The ``worker_type``.
    """

    name: str

    @classmethod
    def of(cls, text: str, known: Collection[str]) -> WorkerNames:
        """Make them of what somebody calls the platform.

        Parameters
        ----------
        text : str
            ``My-Cluster`` becomes ``my_cluster``.
        known : collection of str
            The worker types that there are.

        Raises
        ------
        ValueError
            It makes no name in Python, or a worker has it; the message says so.
        """
        name = re.sub(r"[-_. ]+", "_", text.strip()).lower()
        if not (name.isascii() and name.isidentifier()) or name.startswith("_"):
            raise ValueError(
                f"expected letters, digits, '-' and '_', starting with a letter, found {text!r}"
            )
        if keyword.iskeyword(name) or keyword.issoftkeyword(name):
            raise ValueError(f"{name!r} is a word of Python's own")
        if name == "base":
            raise ValueError("BaseWorker is what all workers are made of")
        if name in known:
            raise ValueError(f"there is a worker {name!r} already (ramp workers {name})")
        return cls(name)

    @property
    def distribution(self) -> str:
        """The name by which it is installed."""
        return "ramp-worker-" + self.name.replace("_", "-").strip("-")

    @property
    def package(self) -> str:
        """The name by which it is imported."""
        return f"ramp_worker_{self.name}"

    @property
    def worker_class(self) -> str:
        """The name of the class."""
        return "".join(part.capitalize() for part in self.name.split("_")) + "Worker"

    @property
    def files(self) -> dict[str, str]:
        """For `write`."""
        return {path.replace("@PACKAGE@", self.package): name for path, name in _WORKER.items()}

    @property
    def words(self) -> dict[str, str]:
        """For `write`: what stands in the templates' places."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "package": self.package,
            "class": self.worker_class,
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
