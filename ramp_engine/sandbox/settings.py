"""What an organiser says of confinement: keys of the section ``worker``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ramp_database.config_words import Expected

__all__ = ["Limits", "SandboxKeys", "machine_mb"]

#: With less memory an interpreter hangs in the middle of an import, in MB.
LEAST_MEMORY_MB = 1024.0
#: The part of the machine's memory that folds share.
SHARE_OF_MEMORY = 0.9


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("bool_given", "a number")
    return value


def _off(value: Any) -> Any:
    """Take what YAML makes of an ``off`` without quotes."""
    return "off" if value is False else value


_Amount = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]


class Limits(BaseModel):
    """What a fold may take; None: not limited. MB are of 1024 KB."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    memory_mb: Annotated[
        Literal["auto"] | Annotated[_Amount, Field(ge=LEAST_MEMORY_MB)] | None,
        Expected(f"auto, null, or a number of at least {LEAST_MEMORY_MB:g}"),
    ] = Field(
        default="auto",
        description="Memory of all processes of a fold; auto: 90 % of the machine's, divided by "
        "n_workers and by the folds of a submission that run at once.",
    )
    fold_seconds: _Amount | None = Field(default=None, description="Seconds that a fold may take.")
    cpu_seconds: _Amount | None = Field(
        default=None, description="Seconds of processor time of all processes of a fold."
    )
    processes: _Count | None = Field(default=512, description="Processes of a fold at once.")
    threads: _Count | None = Field(
        default=4096, description="Threads of all processes of a fold at once."
    )
    file_mb: _Amount | None = Field(default=2048, description="Size of a file that a fold writes.")
    output_mb: _Amount | None = Field(
        default=8192, description="Size of all files that a fold writes."
    )
    n_files: _Count | None = Field(
        default=100_000, description="Files and folders that a fold makes."
    )
    log_mb: _Amount = Field(
        default=10, description="Of a longer log the head and the tail are kept; it never fails."
    )
    open_files: _Count | None = Field(default=4096, description="Open files of a process.")
    tmp_mb: _Amount = Field(default=1024, description="Size of /tmp, and of /dev/shm.")

    def to_spec(
        self, n_folds: int, machine_memory_mb: float | None = None
    ) -> dict[str, float | int | None]:
        """Give the limits as the fold step takes them.

        Parameters
        ----------
        n_folds : int
            So many share the machine.
        machine_memory_mb : float, optional
            Its memory; default: that of this machine.
        """
        spec = self.model_dump()
        if self.memory_mb == "auto":
            share = SHARE_OF_MEMORY * (machine_memory_mb or machine_mb()) / n_folds
            spec["memory_mb"] = max(LEAST_MEMORY_MB, round(share))
        return spec


class SandboxKeys(BaseModel):
    """The keys of a worker that runs folds confined."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sandbox: Annotated[
        Literal["required", "auto", "off"],
        BeforeValidator(_off),
        Expected("required, auto or off"),
    ] = Field(
        default="auto",
        description="How submissions are confined: required (by namespaces, or not at all run), "
        "auto (as well as the machine can), off.",
    )
    sandbox_user: str = Field(
        default="nobody",
        min_length=1,
        description="Who submissions run as when the dispatcher runs as root.",
    )
    allow_network: bool = Field(
        default=False, description="Whether submissions may use the network."
    )
    extra_read_paths: list[Path] = Field(
        default=[],
        description="Folders and files that submissions may read as well; from the event's folder.",
    )
    limits: Limits = Field(default_factory=Limits, description="What a fold may take.")

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Take the keys out of a worker's ``config``."""
        return cls.model_validate({key: config[key] for key in cls.model_fields if key in config})


def machine_mb() -> float:
    """Give the memory of this machine, or of the control group that this process is in."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            amounts.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # none, or "max"
            continue
    return min(amounts) / 2**20
