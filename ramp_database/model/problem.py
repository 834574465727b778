"""Problems: the tasks that events are about."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from ramp_database.model.base import Base


class Problem(Base):
    """A task, with one kit; several events may be about it."""

    __tablename__ = "problems"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
