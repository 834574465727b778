"""What an agent does not do, and why: a fold that is refused has never begun."""

from __future__ import annotations

from pathlib import Path

from ramp_engine.errors import RampError, SandboxError
from ramp_engine.room import find_full

__all__ = ["Refusal", "refused"]


class Refusal(Exception):
    """Something is refused.

    Parameters
    ----------
    kind : str
        ``setup``, ``sandbox``, ``disk``, ``bundle`` or ``busy``.
    message : str
        What to do about it.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


def refused(error: RampError | OSError, folder: Path) -> Refusal:
    """Make a refusal of an error.

    Parameters
    ----------
    error : RampError or OSError
    folder : Path
        Where it was worked, for errors that name no path.
    """
    full = find_full(error, folder)
    if full is not None:
        return Refusal("disk", f"the disk of the node is full: no room in {full}")
    return Refusal("sandbox" if isinstance(error, SandboxError) else "setup", str(error))
