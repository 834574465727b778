"""Types of columns that behave alike on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import DateTime, Dialect, Enum, Text
from sqlalchemy.types import TypeDecorator


class UTCDateTime(TypeDecorator[datetime]):
    """An aware time in UTC; SQLite stores it as text without the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware time into what the database stores; a naive one raises ValueError."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone: {value!r}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> datetime | None:
        """Turn what the database stores into aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(TypeDecorator[str]):
    """Text that any database takes: what cannot be stored is replaced by U+FFFD.

    PostgreSQL refuses NUL, and neither database takes lone surrogates; both occur in what
    participants' programs print.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(
        self,
        value: str | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> str | None:
        """Replace NUL and lone surrogates."""
        if value is None:
            return None
        whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


def enum_column(members: type[StrEnum]) -> Enum:
    """Give the type that stores the values of a `StrEnum` as text, without a constraint.

    A constraint would make every new member a change of the table.
    """
    return Enum(
        members,
        native_enum=False,
        create_constraint=False,
        length=32,
        values_callable=lambda enum: [member.value for member in enum],
    )
