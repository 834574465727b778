"""The keys of ``worker_type: ssh``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ramp_engine.sandbox import Limits
from ramp_engine.transports.ssh import HostKey

__all__ = ["SshWorkerConfig"]


def _host_key(line: str) -> str:
    try:
        return str(HostKey.parse(line))
    except ValueError as error:  # what it says completes "expected ..."
        raise ValueError("KIND BASE64, as ssh_host_ed25519_key.pub of the machine says") from error


def _over_there(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("an absolute path on the machine")
    return path


RemotePath = Annotated[str, AfterValidator(_over_there)]


class SshWorkerConfig(BaseModel):
    """What an event's file says of the machine."""

    model_config = ConfigDict(extra="forbid")
    #: Keys of which no paths on the dispatcher's machine are made.
    paths_elsewhere: ClassVar[frozenset[str]] = frozenset({"python", "folder"})
    #: Defaults of the section ``dispatcher``, whose own follow the cores of its machine.
    dispatcher_defaults: ClassVar[Mapping[str, Any]] = {
        "n_threads": None,
        "n_jobs_per_submission": 1,
    }

    host: str = Field(description="Name or address of the machine.")
    port: int = Field(default=22, ge=1, le=65535, description="Where its sshd listens.")
    user: str = Field(description="The login; one of its own, since submissions run as it.")
    key_path: Path = Field(description="The login's private key, a file here, no passphrase.")
    host_key: Annotated[str, AfterValidator(_host_key)] = Field(
        description="What /etc/ssh/ssh_host_ed25519_key.pub of the machine says."
    )
    python: RemotePath = Field(
        description="Interpreter there, with ramp-workflow and what the kit needs."
    )
    folder: RemotePath = Field(description="Folder there for bundles and runs; made when missing.")
    confinement: Literal["namespaces", "landlock", "none"] = Field(
        default="namespaces",
        description="How submissions are confined there; a machine that cannot do it runs none.",
    )
    limits: Limits = Field(
        default_factory=Limits,
        description="What a fold may take; with memory_mb: auto, as much memory as there is.",
    )
    timeout: float | None = Field(
        default=None, gt=0, description="Seconds that a submission may take."
    )

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Take the keys out of a worker's ``config``, which has those of the dispatcher as well."""
        return cls.model_validate({key: config[key] for key in cls.model_fields if key in config})
