"""Settings of PostgreSQL for some statements of a transaction."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession


@asynccontextmanager
async def local_settings(session: AsyncSession, settings: Mapping[str, str]) -> AsyncIterator[None]:
    """Within the block the settings have these values; afterwards those that they had before, also after an error.

    Args:
        session: of the caller, in a transaction.
        settings: values by name; empty: nothing changes, at no cost.
    """
    if not settings:
        yield
        return
    before = [func.current_setting(name) for name in settings]
    # From left to right: the values are read before they are set.
    values = (await session.execute(select(*before, *_set(settings)))).one()
    earlier = dict(zip(settings, values, strict=False))
    try:
        yield
    except Exception:
        # A caller may catch the error and go on. Where the transaction has failed, PostgreSQL refuses the statement,
        # and the rollback to a savepoint from before the block restores the settings.
        with suppress(SQLAlchemyError):
            await session.execute(select(*_set(earlier)))
        raise
    await session.execute(select(*_set(earlier)))


def _set(settings: Mapping[str, str]) -> list[ColumnElement[str]]:
    return [func.set_config(name, value, True) for name, value in settings.items()]
