"""The deployment's file: where the database is.

::

    sqlalchemy:
      drivername: postgresql
      username: ramp
      password: ${RAMP_DATABASE_PASSWORD}
      host: localhost
      port: 5432
      database: ramp

or ``sqlalchemy: {url: ...}``. Without that section the database is the SQLite file ``ramp.db``
beside the config file, and without a file, ``ramp.db`` in the current directory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator, model_validator
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ramp_database.config_file import ConfigFile, read
from ramp_database.config_validation import OpenSection, Section, check, raise_all
from ramp_database.config_words import Expected
from ramp_database.errors import ConfigError, nearest
from ramp_database.masking import mask

__all__ = [
    "DEFAULT_CONFIG",
    "DEFAULT_DATABASE",
    "DatabaseConfig",
    "DeploymentConfig",
    "load_deployment",
]

#: Name of the deployment's file.
DEFAULT_CONFIG = "config.yml"
#: Name of the SQLite file that is used where nothing else is configured.
DEFAULT_DATABASE = "ramp.db"

# psycopg 3 is what the extra `postgresql` installs; SQLAlchemy 2.0 would take psycopg2.
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_DRIVER_WORDS = "'sqlite' or 'postgresql'"


class DatabaseConfig(Section):
    """The section ``sqlalchemy``: a URL, or its parts."""

    url: SecretStr | None = Field(
        default=None, description="The whole URL, in place of all other keys."
    )
    drivername: Annotated[str, Expected(_DRIVER_WORDS)] = Field(
        default="sqlite", description="sqlite or postgresql."
    )
    username: str | None = Field(default=None, description="Who logs in at PostgreSQL.")
    password: SecretStr | None = Field(
        default=None, description="The password; best from the environment: ${NAME}."
    )
    host: str | None = Field(default=None, description="Host of PostgreSQL.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Its port; default: 5432."
    )
    database: str | None = Field(
        default=None,
        description="Name of the database; of SQLite the file, from the folder of the config file; "
        "default: ramp.db.",
    )
    query: dict[str, str] = Field(
        default_factory=dict, description="Options of the driver, such as sslmode."
    )

    @field_validator("drivername")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name.partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
            raise ValueError(_DRIVER_WORDS)
        return name

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                drivername = make_url(url.get_secret_value()).drivername
            except (ArgumentError, ValueError):
                raise ValueError("a URL such as postgresql://user:password@host/name") from None
            cls._is_known(drivername)
        return url

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> DatabaseConfig:
        given = self.model_fields_set
        if self.url is not None and len(given) > 1:
            raise ValueError("either url or drivername, username, ... and not both")
        if self.url is None and given and not self.drivername.startswith("sqlite"):
            missing = [name for name in ("database",) if getattr(self, name) is None]
            if missing:
                raise ValueError(f"the key {missing[0]}, the name of the database")
        return self

    def make_url(self, directory: Path) -> URL:
        """Give the URL, with the file of SQLite made absolute.

        Parameters
        ----------
        directory : Path
            The folder of the config file, to which a SQLite file is relative.
        """
        if self.url is not None:
            url = make_url(self.url.get_secret_value())
        else:
            password = None if self.password is None else self.password.get_secret_value()
            url = URL.create(
                self.drivername,
                self.username,
                password,
                self.host,
                self.port,
                self.database or (DEFAULT_DATABASE if self.drivername == "sqlite" else None),
                self.query,
            )
        if url.get_backend_name() == "sqlite":
            return _absolute(url, directory)
        return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


class _Deployment(OpenSection):
    """The deployment's file; RAMP's other sections, such as ``flask``, are not looked at."""

    sqlalchemy: DatabaseConfig = Field(
        default_factory=DatabaseConfig, description="Where the database is."
    )


@dataclass(frozen=True)
class DeploymentConfig:
    """What is known about a deployment."""

    url: URL  #: the database; its ``str`` masks the password
    directory: Path  #: the deployment's folder
    path: Path | None  #: its config file, None without one
    sections: dict[str, Any] = field(default_factory=dict, repr=False)  #: all of the file

    @property
    def is_default(self) -> bool:
        """Whether there is no config file, so that ``ramp.db`` stands in the current directory."""
        return self.path is None

    def to_printable(self) -> dict[str, Any]:
        """Give the configuration for printing, secrets masked."""
        masked: dict[str, Any] = mask(self.sections)
        url = self.url.render_as_string(hide_password=True)
        return masked | {"sqlalchemy": {"url": url}}


def load_deployment(path: Path | None = None) -> DeploymentConfig:
    """Read the deployment's file.

    Parameters
    ----------
    path : Path, optional
        The file, which must exist. None takes ``config.yml`` in the current directory when there
        is one, and the defaults otherwise.

    Raises
    ------
    ConfigErrors
        With every problem of the file.
    """
    if path is None:
        path = Path(DEFAULT_CONFIG)
        if not path.exists():
            directory = Path.cwd()
            return DeploymentConfig(DatabaseConfig().make_url(directory), directory, None)
    file = read(path)
    data = {key: value for key, value in file.data.items() if value is not None}
    deployment, problems = check(file, _Deployment, data)
    raise_all([*file.problems, *problems, *_misspelt(file)])
    assert deployment is not None  # noqa: S101 - without problems there is one
    directory = path.absolute().parent
    return DeploymentConfig(deployment.sqlalchemy.make_url(directory), directory, path, file.data)


def _misspelt(file: ConfigFile) -> list[ConfigError]:
    """Find a section that is meant to be ``sqlalchemy``: silently another database is used else."""
    if "sqlalchemy" in file.data:
        return []
    return [
        file.error((name,), "a known section", found=repr(name), suggestion="sqlalchemy")
        for name in file.data
        if nearest(str(name), ["sqlalchemy"])
    ]


def _absolute(url: URL, directory: Path) -> URL:
    database = url.database
    if not database or database == ":memory:" or database.startswith("file:"):
        return url
    return url.set(database=str(directory / Path(database).expanduser()))
