"""The keys of ``worker_type: aws``, named as RAMP's documentation names them.

Paths are of two kinds: `key_path` is a file of the dispatcher's machine, relative to the event's
folder; those of the instance, `INSTANCE_PATHS`, stay as they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ramp_database.config_words import Expected
from ramp_engine.sandbox import SandboxKeys

__all__ = ["INSTANCE_PATHS", "AWSWorkerConfig"]

#: Keys whose paths are places on the instance.
INSTANCE_PATHS = frozenset({"conda_env", "python", "extra_read_paths", "remote_ramp_kit_folder"})

_TYPES_WORDS = "the name of an instance type, such as t3.large, or a list of them"
_GROUPS_WORDS = "the name or the id (sg-...) of a security group, or a list of them"
_PRICE_WORDS = "a number above 0, or one for each instance type, such as {t3.large: 0.08}"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _of_instance(value: str) -> str:
    if value.startswith(("./", "../")):
        raise ValueError("a name, or an absolute path on the instance")
    return value


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(_PRICE_WORDS)
    return value


_Text = Annotated[str, Field(min_length=1)]
_InstanceText = Annotated[_Text, AfterValidator(_of_instance)]
_ImageId = Annotated[str, Field(pattern=r"^ami-\w+$"), Expected("an id such as ami-0abc123")]
_SubnetId = Annotated[str, Field(pattern=r"^subnet-\w+$"), Expected("an id such as subnet-0abc")]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Names = Annotated[list[_Text], Field(min_length=1), BeforeValidator(_as_list)]
_Price = Annotated[
    _Positive | dict[str, _Positive], BeforeValidator(_no_bool), Expected(_PRICE_WORDS)
]


class AWSWorkerConfig(SandboxKeys):
    """The keys of a worker that runs each submission on an EC2 instance."""

    #: Keys of which `load_event` makes no paths on this machine.
    paths_elsewhere: ClassVar[frozenset[str]] = INSTANCE_PATHS
    #: Defaults of the section ``dispatcher``, whose own follow the cores of this machine: here
    #: folds take all of the instance's, one after another. A setup, each of whose waits has an end
    #: of its own, may buy, start, reach and fill a machine before it counts as hung.
    dispatcher_defaults: ClassVar[Mapping[str, Any]] = {
        "hung_after_seconds": 3600.0,
        "n_threads": None,
        "n_jobs_per_submission": 1,
    }

    # Who asks, and where

    access_key_id: _Text | None = Field(
        default=None,
        repr=False,
        description="Id of an access key; default: profile_name, or what boto3 finds by itself "
        "(environment, shared files, role of the machine: the recommended way).",
    )
    secret_access_key: _Text | None = Field(
        default=None, repr=False, description="The secret of access_key_id; never shown."
    )
    profile_name: _Text | None = Field(
        default=None, description="Profile of ~/.aws/config and ~/.aws/credentials."
    )
    region_name: _Text | None = Field(
        default=None, description="Region, such as us-west-2; default: that of the profile."
    )

    # What is launched

    ami_image_name: _Text | None = Field(
        default=None,
        description="Name of the image, one of the account's own or one that was shared with it; "
        "of several the newest.",
    )
    ami_image_id: _ImageId | None = Field(
        default=None, description="Id of the image, in place of its name."
    )
    ami_user_name: _Text = Field(
        default="ubuntu", description="Who logs in by SSH: ubuntu, ec2-user, ..."
    )
    instance_type: Annotated[_Names, Expected(_TYPES_WORDS)] = Field(
        description="Type of the instances; of a list the first that AWS has room for."
    )
    use_spot_instance: bool = Field(
        default=False,
        description="Whether instances are bought on the spot market: cheaper, and taken away at "
        "two minutes' notice.",
    )
    on_demand_fallback: bool = Field(
        default=False,
        description="Whether an instance is bought on demand when the spot market has had none "
        "for spot_timeout seconds.",
    )
    spot_timeout: _NotNegative = Field(
        default=180.0, description="Seconds to try the spot market before on_demand_fallback."
    )
    start_timeout: _Positive = Field(
        default=300.0, description="Seconds that a launched instance may take until it runs."
    )
    key_name: _Text = Field(description="Name of the key pair, as EC2 knows it.")
    key_path: Path = Field(
        description="File of its private key; readable by its owner only (chmod 400)."
    )
    security_group: Annotated[_Names, Expected(_GROUPS_WORDS)] = Field(
        description="Name or id of the security group, or several; it has to let SSH in."
    )
    subnet_id: _SubnetId | None = Field(
        default=None, description="Subnet of the instances; default: one that AWS chooses."
    )

    # How it is reached, and what is there

    use_private_ip: bool = Field(
        default=False, description="Whether instances are reached at their private addresses."
    )
    ssh_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=22, description="Port of the SSH server on the instances."
    )
    host_key_check: Literal["console", "first-use"] = Field(
        default="first-use",
        description="How an instance proves who it is: by the host keys in its console output and "
        "in no other way (console), which some types show minutes late; or by these where they are "
        "there in time, and else by the first key that it shows (first-use). Either is held to.",
    )
    conda_env: _InstanceText | None = Field(
        default=None, description="Name or prefix of the conda environment on the instance."
    )
    python: _InstanceText | None = Field(
        default=None,
        description="Interpreter on the instance that has ramp-workflow and what the kit needs, or "
        "the prefix of its environment; default: python3 of the login.",
    )
    remote_ramp_kit_folder: _InstanceText | None = Field(
        default=None,
        description="Folder of the kit on an image made for RAMP: accepted, hidden from "
        "submissions, and not read.",
    )
    memory_profiling: bool = Field(
        default=False, description="Whether the peak of each fold's memory is told in its log."
    )
    gpus: bool | Annotated[int, Field(ge=0)] = Field(
        default=0, description="GPUs of the instance that a submission is given; true: all."
    )

    # How long, and for how much

    idle_minutes: _NotNegative = Field(
        default=10.0,
        description="Minutes that an instance waits for the next submission; 0: none does.",
    )
    max_lifetime_hours: _Positive = Field(
        default=24.0,
        description="Hours after which an instance shuts itself down, whatever became of us.",
    )
    max_instance_hours: _Positive | None = Field(
        default=None, description="Instance-hours that the event may use in a day (UTC)."
    )
    max_cost: _Positive | None = Field(
        default=None,
        description="What the event may cost in a day (UTC), in the unit of the prices.",
    )
    price_per_hour: _Price | None = Field(
        default=None, description="Price of an hour, of all types or of each."
    )
    spot_price_per_hour: _Price | None = Field(
        default=None, description="The same on the spot market; default: price_per_hour."
    )
    adopt_within_seconds: _Positive = Field(
        default=600.0,
        description="So long a run goes on when its dispatcher has died, to be taken over by "
        "another one.",
    )
    patience_seconds: _Positive = Field(
        default=180.0, description="So long a lost connection to an instance is tried again."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key, or neither")
        if self.access_key_id is not None and self.profile_name is not None:
            raise ValueError("either access_key_id and secret_access_key, or profile_name")
        if (self.ami_image_name is None) == (self.ami_image_id is None):
            raise ValueError("either ami_image_name or ami_image_id")
        if self.conda_env is not None and self.python is not None:
            raise ValueError("either conda_env or python and not both")
        if self.max_cost is not None:
            self._check_prices()
        return self

    def _check_prices(self) -> None:
        markets = {self.use_spot_instance, self.use_spot_instance and not self.on_demand_fallback}
        missing = {
            kind
            for kind in self.instance_type
            for is_spot in markets
            if self.price(kind, is_spot=is_spot) is None
        }
        if missing:
            raise ValueError(f"price_per_hour of {', '.join(sorted(missing))}, for max_cost")

    def price(self, kind: str, *, is_spot: bool) -> float | None:
        """Give the price of an hour of an instance of type `kind`; None: it is not configured."""
        for prices in (self.spot_price_per_hour if is_spot else None, self.price_per_hour):
            price = prices.get(kind) if isinstance(prices, dict) else prices
            if price is not None:
                return price
        return None
