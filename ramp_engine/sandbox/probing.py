"""Find the strongest confinement that really works on this machine, by trying it."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramp_engine import evaluation
from ramp_engine.errors import SandboxError
from ramp_engine.evaluation.plan import ConfinementError
from ramp_engine.evaluation.privileges import find_user
from ramp_engine.sandbox.settings import SandboxKeys
from ramp_engine.supervised import last_lines, run_logged

__all__ = ["NONE", "STRONGEST", "Refusal", "Sandbox", "find_sandbox", "judge"]

logger = logging.getLogger(__name__)

#: The strongest level, and that of no confinement at all.
STRONGEST, NONE = "namespaces", "none"
#: How long the trial may take, in seconds.
PROBE_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Refusal:
    """A level that the machine does not offer."""

    level: str
    reason: str
    hint: str  #: what to install or to allow


@dataclass(frozen=True)
class Sandbox:
    """How submissions are confined here."""

    level: str  #: namespaces, landlock, none
    uid: int | None = None  #: who they run as, None: as this process
    gid: int | None = None
    refused: tuple[Refusal, ...] = ()  #: stronger levels

    @property
    def holds_apart(self) -> bool:
        """Whether a fold can do nothing to other processes of ours, not even send a signal."""
        return self.level == STRONGEST or (self.level != NONE and self.uid is not None)

    def spec(
        self, keys: SandboxKeys, n_folds: int, machine_memory_mb: float | None = None
    ) -> dict[str, Any]:
        """Give what the fold step is told.

        Parameters
        ----------
        keys : SandboxKeys
        n_folds : int
            So many share the machine, of whatever submissions.
        machine_memory_mb : float, optional
            Its memory, where it is another machine.
        """
        return {
            "level": self.level,
            "uid": self.uid,
            "gid": self.gid,
            "read": [str(path) for path in keys.extra_read_paths],
            "allow_network": keys.allow_network,
            "limits": keys.limits.to_spec(n_folds, machine_memory_mb),
        }


def find_sandbox(python: Path, keys: SandboxKeys) -> Sandbox:
    """Find how submissions will be confined.

    Parameters
    ----------
    python : Path
        The event's interpreter, by which the levels are tried.
    keys : SandboxKeys
        What the organiser asks for.

    Returns
    -------
    Sandbox

    Raises
    ------
    SandboxError
        Confinement is required, and the machine refuses it; ``sandbox_user`` is unknown; or one
        of ``extra_read_paths`` is missing.

    Notes
    -----
    Takes a fraction of a second: keep the answer. A weaker level is warned of here.
    """
    for path in keys.extra_read_paths:
        if not path.exists():
            hint = "Correct extra_read_paths, or put it there"
            raise SandboxError(f"submissions should be able to read {path}, which is missing", hint)
    if keys.sandbox == "off":
        return Sandbox(NONE)
    uid, gid = _ids(keys.sandbox_user) if os.geteuid() == 0 else (None, None)
    found = _probe(python, uid, gid)
    judge(found, keys, "this machine")
    return found


def judge(found: Sandbox, keys: SandboxKeys, where: str) -> None:
    """See to it that a machine's confinement is what the organiser asks for.

    Parameters
    ----------
    found : Sandbox
    keys : SandboxKeys
    where : str
        The machine, such as ``this machine``; for messages.

    Raises
    ------
    SandboxError
        The strongest is required. Otherwise a weaker one is warned of.
    """
    if found.level == STRONGEST or keys.sandbox == "off":
        return
    reasons = _told(found.refused)
    if keys.sandbox == "required":
        raise SandboxError(
            f"submissions cannot be confined by namespaces on {where}: {reasons}",
            "Allow that, or set `sandbox: auto` to run them less confined",
        )
    words = "not confined" if found.level == NONE else f"confined by {found.level} only"
    logger.warning("submissions are %s on %s: %s", words, where, reasons)


def _ids(user: str) -> tuple[int, int]:
    try:
        return find_user(user)
    except ConfinementError as error:
        raise SandboxError(error.message, error.hint) from error


def _probe(python: Path, uid: int | None, gid: int | None) -> Sandbox:
    script = Path(evaluation.__path__[0], "confine.py").absolute()
    command = [str(python), "-I", "-S", str(script), "probe"]
    if uid is not None:
        command += ["--uid", str(uid), "--gid", str(gid)]
    with tempfile.TemporaryDirectory(prefix="ramp-probe-") as directory:
        answer, errors = Path(directory, "answer"), Path(directory, "errors")
        code = run_logged(
            command, answer, errors_path=errors, timeout_seconds=PROBE_TIMEOUT_SECONDS
        )
        try:
            said = json.loads(last_lines(answer, 1))
            refused = tuple(Refusal(**refusal) for refusal in said["refused"])
            return Sandbox(said["level"], uid, gid, refused)
        except (ValueError, KeyError, TypeError):
            reason = last_lines(errors, 3) or f"it ended with code {code}"
            hint = "Report it, with the output of `ramp doctor -v`"
            refusal = Refusal(STRONGEST, f"the trial of confinement failed: {reason}", hint)
            return Sandbox(NONE, uid, gid, (refusal,))


def _told(refused: Sequence[Refusal]) -> str:
    return "; ".join(f"{one.level}: {one.reason} ({one.hint})" for one in refused)
