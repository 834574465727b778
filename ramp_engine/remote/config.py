"""The keys of workers whose folds run on a distributed engine.

Paths are of two kinds: those of the machine of the dispatcher are relative to the event's folder;
those of the nodes, `NODE_PATHS`, stay as they are written.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ramp_database.config_words import Expected
from ramp_engine.sandbox import SandboxKeys

__all__ = [
    "NODE_PATHS",
    "DaskSecurity",
    "DaskWorkerConfig",
    "RayWorkerConfig",
    "RemoteWorkerConfig",
]

#: Keys whose paths are places on the nodes.
NODE_PATHS = frozenset({"conda_env", "python", "extra_read_paths", "node_dir"})

_MB = {"": 1.0, "k": 2**-10, "m": 1.0, "g": 2.0**10, "t": 2.0**20}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|b)?", re.IGNORECASE)
_MEMORY_WORDS = 'a number of MB, or text such as "4 GB"'


def _memory_mb(value: Any) -> Any:
    """Read an amount of memory as MB of 2**20 bytes; a text without a unit is MB as well."""
    if isinstance(value, bool):
        raise ValueError(_MEMORY_WORDS)
    if not isinstance(value, str):
        return value
    match = _MEMORY.fullmatch(value.strip())
    if match is None or (value.strip()[-1:] in "bB" and not match[2]):
        raise ValueError(_MEMORY_WORDS)
    return float(match[1]) * _MB[(match[2] or "").lower()]


def _of_node(value: str) -> str:
    if value.startswith(("./", "../")):
        raise ValueError("a name, or an absolute path on the nodes")
    return value


_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Memory = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)],
    BeforeValidator(_memory_mb),
    Expected(_MEMORY_WORDS),
]
_NodeText = Annotated[str, Field(min_length=1), AfterValidator(_of_node)]


class RemoteWorkerConfig(SandboxKeys):
    """The keys that workers of all engines have."""

    #: Keys of which `load_event` makes no paths on this machine.
    paths_elsewhere: ClassVar[frozenset[str]] = NODE_PATHS

    timeout: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that a submission may take, from the start of its first fold.",
    )
    conda_env: _NodeText | None = Field(
        default=None, description="Name or prefix of the conda environment on the nodes."
    )
    python: _NodeText | None = Field(
        default=None,
        description="Interpreter on the nodes that has ramp-workflow and what the kit needs, or "
        "the prefix of its environment; default: an environment that each node makes of the kit's "
        "requirements.txt.",
    )
    cpus: _Positive = Field(default=1.0, description="Cores of a fold, and as many threads.")
    gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="GPUs of a fold; Ray can give a part of one."
    )
    memory: _Memory | None = Field(
        default=None, description='Memory of a fold: MB, or text such as "4 GB".'
    )
    max_folds: int | None = Field(
        default=None,
        ge=1,
        description="Folds of all submissions that are given to the engine at once; default: all.",
    )
    bundle_store: str | None = Field(
        default=None,
        min_length=1,
        description="Folder that all nodes share, or URL of a store (s3://...), for the event's "
        "bundle; default: it is sent to each node once.",
    )
    node_dir: _NodeText | None = Field(
        default=None, description="Folder on the nodes for bundles and runs; default: TMPDIR there."
    )
    cache_mb: _Positive = Field(
        default=20480.0, description="Size of all bundles and environments that a node keeps."
    )
    adopt_within_seconds: _Positive = Field(
        default=120.0,
        description="So long folds go on when their dispatcher has died, to be taken over by "
        "another one.",
    )
    lease_seconds: Annotated[_Positive, Field(ge=4)] = Field(
        default=60.0,
        description="So long a node goes on with folds when it hears nothing of this machine.",
    )
    start_timeout: _Positive = Field(
        default=600.0, description="Seconds that a fold waits for a node that can ever run it."
    )

    @model_validator(mode="after")
    def _has_one_environment(self) -> RemoteWorkerConfig:
        if self.conda_env is not None and self.python is not None:
            raise ValueError("either conda_env or python and not both")
        return self


class DaskSecurity(BaseModel):
    """Files of the TLS connection to a Dask cluster, on the machine of the dispatcher."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    ca_file: Path = Field(description="Certificate of the authority that both sides trust.")
    client_cert: Path = Field(description="Certificate of the dispatcher.")
    client_key: Path = Field(description="File of its private key.")


class DaskWorkerConfig(RemoteWorkerConfig):
    """The keys of ``worker_type: dask``."""

    dask_scheduler: str | None = Field(
        default=None,
        min_length=1,
        description="Address of the scheduler, such as tcp://10.0.0.1:8786; default: a cluster on "
        "this machine, started for the event.",
    )
    dask_security: DaskSecurity | None = Field(
        default=None, description="TLS: ca_file, client_cert and client_key."
    )


class RayWorkerConfig(RemoteWorkerConfig):
    """The keys of ``worker_type: ray``."""

    ray_address: str | None = Field(
        default=None,
        min_length=1,
        description="auto, host:port, or ray://host:10001; default: a Ray on this machine, started "
        "for the event.",
    )
    resources: dict[str, _Positive] = Field(
        default={}, description="Further resources of a fold, such as V100: 1."
    )
    runtime_env: dict[str, Any] | None = Field(
        default=None,
        description="Given to Ray as it is: working_dir, pip, uv, conda, env_vars, image_uri; its "
        "Python is that of the folds.",
    )
    namespace: str | None = Field(
        default=None, min_length=1, description="Ray's namespace; default: one of the event."
    )
    token_file: Path | None = Field(
        default=None, description="File that holds the token of the Ray cluster."
    )
    label_selector: dict[str, str] = Field(
        default={}, description="Labels that a node has to have, such as ray.io/market-type: spot."
    )
    checkpoint_timeout: _Positive = Field(
        default=120.0,
        description="Seconds that a fold has to save its checkpoint when its node is taken away.",
    )
