"""What a request for a fold says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from ramp_engine.bundle_archive import BundleName
from ramp_engine.gpus import listed
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.node.refusal import Refusal
from ramp_engine.remote.parts import PartsError, split

__all__ = ["FoldRequest", "Spec"]

_MB = 1 << 20


@dataclass(frozen=True)
class Spec:
    """How folds run, as far as it concerns bundles and servers."""

    raw: Mapping[str, Any]  #: ``environment`` and ``keys`` in it are for `Preparations`
    n_threads: int
    bundle_store: str | None
    max_bundle_bytes: int
    memory_mb: float | None

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Spec:
        """Read it from the header of any request."""
        raw = header["spec"]
        memory = raw.get("memory_mb")
        return cls(
            raw=raw,
            n_threads=int(raw.get("n_threads", 1)),
            bundle_store=raw.get("bundle_store"),
            max_bundle_bytes=int(raw.get("cache_mb", 20480)) * _MB,
            memory_mb=None if memory is None else float(memory),
        )


@dataclass(frozen=True)
class FoldRequest:
    """One fold of one submission."""

    job: str
    lease: str
    fold: int
    spec: Spec
    n_slots: int  #: so many folds share the node
    bundle: BundleName
    timeout_seconds: float | None
    gpus: int | tuple[str, ...]  #: how many, or which
    visible_gpus: tuple[str, ...] | None  #: those that will do; None: all of the node
    files: Mapping[str, memoryview]  #: of the submission
    checkpoint: Mapping[str, memoryview]

    @classmethod
    def of(cls, frame: Frame) -> FoldRequest:
        """Read a request.

        Raises
        ------
        Refusal
            It makes no sense: gateway and node differ in their versions of ramp.
        """
        header = frame.header
        try:
            gpus, timeout = header.get("gpus") or 0, header.get("timeout_seconds")
            visible = header.get("visible_gpus")
            files, checkpoint = _files(frame)
            return cls(
                job=str(header["job"]),
                lease=str(header["lease"]),
                fold=int(header["fold"]),
                spec=Spec.of(header),
                n_slots=max(1, int(header.get("n_slots", 1))),
                bundle=BundleName.from_json(header["bundle"]),
                timeout_seconds=None if timeout is None else float(timeout),
                gpus=tuple(map(str, gpus)) if isinstance(gpus, list) else ceil(gpus),
                visible_gpus=None if visible is None else tuple(listed(visible)),
                files=files,
                checkpoint=checkpoint,
            )
        except (KeyError, TypeError, ValueError, PartsError) as error:
            raise Refusal("setup", f"the request of a fold makes no sense: {error!r}") from error


def _files(frame: Frame) -> tuple[Mapping[str, memoryview], Mapping[str, memoryview]]:
    names = frame.header["files"]
    n_bytes = sum(int(size) for _, size in names)
    payload = memoryview(frame.payload)
    submission = split(names, payload[:n_bytes])
    return submission, split(frame.header.get("checkpoint") or [], payload[n_bytes:])
