"""The declarative base of all tables: naming rules for constraints, and the columns most tables have."""

import datetime as dt
from typing import Any

from sqlalchemy import DateTime, MetaData, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Fixed names, so that a migration can drop what another made (Alembic, "The Importance of Naming Constraints")."""


class Base(DeclarativeBase):
    """Base of every model. `datetime` columns are aware (`timestamptz`)."""

    metadata = MetaData(naming_convention=NAMING)
    # Values that the database fills in are read back with the statement: reading an attribute later must not need a
    # query.
    __mapper_args__: dict[str, Any] = {"eager_defaults": True}  # noqa: RUF012
    type_annotation_map: dict[Any, Any] = {dt.datetime: DateTime(timezone=True)}  # noqa: RUF012


class Identified:
    """Mixin: an integer primary key."""

    id: Mapped[int] = mapped_column(primary_key=True)


class Timestamped:
    """Mixin: when the row was created and last changed, by the database's clock."""

    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[dt.datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
