"""What runs on an instance, as one file: `ramp_engine.evaluation`, which needs nothing of ours."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ramp_engine import evaluation

__all__ = ["Program", "build_program"]

#: The module that is run first.
_ENTRY = "host_entry.py"


@dataclass(frozen=True)
class Program:
    """The archive, which a python runs as it is."""

    content: bytes

    @property
    def file_name(self) -> str:
        """Its name: other content has another one."""
        return f"program-{hashlib.sha256(self.content).hexdigest()[:12]}.pyz"


@lru_cache(maxsize=1)
def build_program() -> Program:
    """Pack the program; the same files always make the same bytes.

    Raises
    ------
    OSError
        Our own files cannot be read.
    """
    folder = Path(evaluation.__path__[0])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "__main__.py", (folder / _ENTRY).read_bytes())
        for path in sorted(folder.glob("*.py")):
            _add(archive, f"evaluation/{path.name}", path.read_bytes())
    return Program(buffer.getvalue())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name)  # dated 1980
    member.external_attr = 0o644 << 16
    archive.writestr(member, content, zipfile.ZIP_DEFLATED)
