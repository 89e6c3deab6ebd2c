"""The declarative base of the library's own tables, apart from those of the application."""

import datetime as dt
from typing import Any

from sqlalchemy import DateTime, MetaData
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.orm import DeclarativeBase

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Fixed names, so that a migration can drop what another one made (Alembic, "The Importance of Naming Constraints")."""


class Base(DeclarativeBase):
    """Base of the library's models. `datetime` columns are aware (`timestamptz`)."""

    metadata = MetaData(naming_convention=NAMING)
    # Values that the database fills in are read back with the statement: reading an attribute later must not need a
    # query.
    __mapper_args__: dict[str, Any] = {"eager_defaults": True}  # noqa: RUF012
    type_annotation_map: dict[Any, Any] = {dt.datetime: DateTime(timezone=True)}  # noqa: RUF012


def in_schema(schema: str | None) -> dict[str, Any]:
    """Execution options for statements about the library's tables; the other options of the connection stay unchanged.

    Args:
        schema: of the tables; None: what the connection finds.
    """
    return {} if schema is None else {"schema_translate_map": {None: schema}}


def quoted(name: str, schema: str | None) -> str:
    """The name of a table or function for SQL text."""
    prefix = f"{_quoter.quote_schema(schema)}." if schema else ""
    return prefix + _quoter.quote(name)


_quoter = PGDialect().identifier_preparer  # type: ignore[no-untyped-call]
