"""What an instance answers: read with distrust, and its errors made ours."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ramp_engine.aws.refusals import TakenOverError
from ramp_engine.errors import (
    CollectError,
    ResourceUnavailableError,
    SandboxError,
    TransportError,
    WorkerSetupError,
)
from ramp_engine.evaluation.parcel import MAX_HEADER_BYTES
from ramp_engine.evaluation.plan import LEVELS
from ramp_engine.sandbox import Refusal, Sandbox, SandboxKeys

__all__ = ["Parcel", "Prepared", "Report"]

#: The longest piece of a log, 64 KiB, in base64; and how many folds an event may have.
_MAX_LOG_DIGITS, _MAX_FOLDS = 4 * (-(-(64 << 10) // 3)), 10_000
#: So much is told of an error [characters].
_MAX_WORDS = 2000
_FULL_WORDS = b"No space left"


@dataclass(frozen=True)
class Prepared:
    """What an instance offers."""

    python: str  #: the event's interpreter there
    bundle: str  #: hash of the archive of the bundle that is there
    sandbox: Sandbox
    facts: Mapping[str, Any]  #: ``hostname``, ``cpus``, ``memory_mb``, ``disk_free_mb``, ``gpus``

    @property
    def memory_mb(self) -> float:
        """The memory of the instance, in MB."""
        return float(self.facts["memory_mb"])

    def gpus(self, wanted: bool | int) -> tuple[str, ...]:
        """Choose GPUs of the instance.

        Parameters
        ----------
        wanted : bool or int
            So many; True: all, of which there has to be one.

        Raises
        ------
        WorkerSetupError
            The instance does not have them.
        """
        found = tuple(map(str, self.facts["gpus"]))
        n_wanted = max(1, len(found)) if wanted is True else int(wanted)
        if n_wanted > len(found):
            has = f"the instance has {len(found)}" if found else "the instance has none"
            plural = "s" if n_wanted > 1 else ""
            reason = f"a submission needs {n_wanted} GPU{plural}, and {has}"
            hint = "Correct gpus or instance_type; the image needs the driver"
            raise WorkerSetupError(reason, hint)
        return found[:n_wanted]

    @property
    def level(self) -> str:
        """How submissions are confined there."""
        return self.sandbox.level

    @property
    def uid(self) -> int | None:
        """Who they run as there."""
        return self.sandbox.uid

    @property
    def gid(self) -> int | None:
        """Their group there."""
        return self.sandbox.gid

    def spec(self, keys: SandboxKeys, n_folds: int) -> dict[str, Any]:
        """Give what the fold step is told, with a share of the instance's memory.

        Parameters
        ----------
        keys : SandboxKeys
        n_folds : int
            So many share the instance.
        """
        return self.sandbox.spec(keys, n_folds, self.memory_mb)


@dataclass(frozen=True)
class Report:
    """How a run stands."""

    state: str  #: running, ended, or unknown: nothing is known of it
    returncode: int | None = None  #: of the run; None before its end
    killed_by: str | None = None  #: the signal that ended it, which was not its own affair
    reason: str = ""  #: why it was ended from outside
    log: bytes = b""  #: a piece, from the offset that was asked for
    done: tuple[int, ...] = ()  #: folds that are done and were not known
    notice: str | None = None  #: the instance is taken away: what its metadata says
    disk_is_full: bool = False  #: or as good as


@dataclass(frozen=True)
class Parcel:
    """A file that waits on the instance."""

    file: str
    n_bytes: int
    sha256: str


def encode(request: Mapping[str, Any]) -> bytes:
    """Write a request."""
    return json.dumps(request).encode()


def describe(content: bytes) -> dict[str, Any]:
    """Say of a file that is sent how it is recognized."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "n_bytes": len(content)}


def read_answer(returncode: int, stdout: bytes, stderr: bytes) -> dict[str, Any]:
    """Read an answer: the last line, after whatever the login's shell prints.

    Raises
    ------
    TransportError
        There is none.
    WorkerSetupError, SandboxError, ResourceUnavailableError, TakenOverError
        It is an error.
    """
    try:
        answer = json.loads((stdout.strip().splitlines() or [b""])[-1])
    except (ValueError, RecursionError):
        answer = None
    if returncode or not isinstance(answer, dict):
        told = b" ".join(stderr.strip().splitlines()[-3:]) or stdout[-300:]
        words = told.decode(errors="replace")
        if _FULL_WORDS in told:
            raise ResourceUnavailableError(f"the instance's disk is full: {words}")
        raise TransportError(f"the instance gave no answer (code {returncode}): {words:.500}")
    if "error" in answer:
        _raise(answer["error"])
    return answer


def _raise(error: Any) -> None:
    said = error if isinstance(error, dict) else {}
    kind, message, hint = (
        str(said.get(key, ""))[:_MAX_WORDS] for key in ("kind", "message", "hint")
    )
    if kind == "disk":
        raise ResourceUnavailableError(message, hint)
    if kind == "sandbox":
        raise SandboxError(message, hint)
    if kind == "taken":
        raise TakenOverError(message)
    if kind == "bundle":
        raise TransportError(message, hint)
    raise WorkerSetupError(message or f"the instance refuses: {error!r:.300}", hint)


def refuse_folder(stderr: bytes) -> None:
    """Raise what stands for a folder that cannot be made on the instance."""
    words = stderr.decode(errors="replace").strip()
    if _FULL_WORDS in stderr:
        raise ResourceUnavailableError(f"the instance's disk is full: {words}")
    raise WorkerSetupError(f"nothing can be written on the instance: {words:.300}")


def read_prepared(answer: Mapping[str, Any], bundle: str) -> Prepared:
    """Read what an instance offers.

    Raises
    ------
    TransportError
        It makes no sense.
    """
    match answer:
        case {
            "python": str(python),
            "level": str(level),
            "uid": int() | None as uid,
            "gid": int() | None as gid,
            "refused": list(refused),
            "facts": {"memory_mb": int(), "disk_free_mb": int(), "gpus": list()} as facts,
        } if level in LEVELS:
            refusals = tuple(Refusal(**_texts(one)) for one in refused if isinstance(one, dict))
            sandbox = Sandbox(level, uid, gid, refusals)
            return Prepared(python, bundle, sandbox, facts)
    raise _senseless(answer)


def _texts(refusal: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(refusal.get(key, "")) for key in ("level", "reason", "hint")}


def read_free_mb(answer: Mapping[str, Any]) -> int:
    """Read how much room there is on the instance's disk [MB].

    Raises
    ------
    TransportError
        It makes no sense.
    """
    match answer:
        case {"facts": {"disk_free_mb": int(free_mb)}}:
            return free_mb
    raise _senseless(answer)


def read_report(answer: Mapping[str, Any]) -> Report:
    """Read how a run stands.

    Raises
    ------
    TransportError
        It makes no sense.
    """
    try:
        notice = answer["notice"]
        said_notice = None if notice is None else str(notice)[:1000]
        if answer["state"] == "unknown":
            return Report("unknown", notice=said_notice)
        if answer["state"] not in ("running", "ended") or len(answer["log"]) > _MAX_LOG_DIGITS:
            raise ValueError
        is_over = answer["state"] == "ended"
        killed_by = answer["killed_by"]
        return Report(
            state=str(answer["state"]),
            returncode=int(answer["returncode"]) if is_over else None,
            killed_by=None if killed_by is None else signal.Signals(killed_by).name,
            reason=str(answer["reason"])[:1000],
            log=base64.b64decode(answer["log"], validate=True),
            done=tuple(_fold(number) for number in answer["done"]),
            notice=said_notice,
            disk_is_full=answer["disk_is_full"] is True,
        )
    except (LookupError, TypeError, ArithmeticError, ValueError, AttributeError) as error:
        raise _senseless(answer) from error


def _fold(number: Any) -> int:
    if type(number) is not int or not 0 <= number < _MAX_FOLDS:
        raise ValueError
    return number


def read_parcel(answer: Mapping[str, Any], root: str, max_bytes: int) -> Parcel:
    """Read where what was packed waits.

    Raises
    ------
    CollectError
        It is too much.
    TransportError
        It makes no sense.
    """
    match answer:
        case {"file": str(file), "n_bytes": int(n_bytes), "sha256": str(sha256)}:
            if re.fullmatch(rf"{re.escape(root)}/runs/[\w-]+/[\w-]+", file):
                if n_bytes > max_bytes + MAX_HEADER_BYTES:
                    reason = f"the results have {n_bytes} bytes, at most {max_bytes} are taken"
                    raise CollectError(reason)
                return Parcel(file, n_bytes, sha256)
    raise _senseless(answer)


def _senseless(answer: Mapping[str, Any]) -> TransportError:
    return TransportError(f"the instance's answer makes no sense: {answer!r:.300}")
