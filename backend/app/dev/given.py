"""Checks that the servers that REDIS_URL and DATABASE_URL name answer, before anything is started on them."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from sqlalchemy import text

from app.db.session import make_engine
from app.settings import Settings
from saqueduct import Connections
from saqueduct.embedded.servers import ServerError
from saqueduct.postgres.outage import outage_in

ANSWER_SECONDS = 5.0
"""How long a server gets to answer."""

_REFUSED = re.compile("WRONGPASS|NOAUTH|NOPERM|username-password|password authentication failed", re.IGNORECASE)
"""The error texts of Redis and PostgreSQL; redis-py has no class for each of them."""


def require_given_servers(settings: Settings) -> None:
    """Check the servers that the settings name; embedded ones are not checked.

    Raises:
        ServerError: one does not answer, or refuses the user; names the variable and the remedy.
    """
    asyncio.run(_require(settings))


async def _require(settings: Settings) -> None:
    given: list[tuple[str, bool, Callable[[Settings], Awaitable[None]]]] = [
        ("REDIS_URL", bool(settings.redis.url), _ask_redis),
        ("DATABASE_URL", bool(settings.database.url), _ask_postgres),
    ]
    for name, is_given, ask in given:
        if not is_given:
            continue
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await ask(settings)
        except Exception as error:
            raise ServerError(f"{name}: {_why(error)}; correct it, or leave it empty for an embedded server") from None


async def _ask_redis(settings: Settings) -> None:
    client = Connections(settings.redis.url.reveal()).client("default")
    try:
        await client.ping()
    finally:
        await client.aclose()


async def _ask_postgres(settings: Settings) -> None:
    engine = make_engine(settings, 1)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    finally:
        await engine.dispose()


def _why(error: Exception) -> str:
    if isinstance(error, AuthenticationError | NoPermissionError) or _REFUSED.search(str(error)):
        return f"the server refuses the user or the password ({error})"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} s"
    if isinstance(error, RedisError | OSError):
        return f"the server cannot be reached: {error}"
    return outage_in(error) or str(error)
