"""The Redis and the PostgreSQL that tests use, started once per run.

TEST_REDIS_URL and TEST_DATABASE_URL name servers to use instead; tests delete their data.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from saqueduct.embedded.servers import EmbeddedServer

NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
"""PostgreSQL settings for data that is not needed after the tests."""

NOT_APPENDED = {"appendonly": "no"}
"""Redis options for the same."""


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a Redis that runs during a block.

    Raises:
        pytest.UsageError: it is not installed.
    """
    with given_or_started("TEST_REDIS_URL", _embedded_redis) as url:
        yield url


@contextmanager
def postgres_server() -> Iterator[str]:
    """The libpq style URL of an empty database of a PostgreSQL that runs during a block.

    Raises:
        pytest.UsageError: it is not installed.
    """
    with given_or_started("TEST_DATABASE_URL", _embedded_postgres) as url:
        yield url


def _embedded_redis(directory: Path) -> "EmbeddedServer":
    from saqueduct.embedded.redis import EmbeddedRedis

    return EmbeddedRedis(directory / "redis", options=NOT_APPENDED)


def _embedded_postgres(directory: Path) -> "EmbeddedServer":
    from saqueduct.embedded.postgres import EmbeddedPostgres

    return EmbeddedPostgres(directory / "postgres", NOT_DURABLE)


@contextmanager
def given_or_started(
    variable: str, make: Callable[[Path], "EmbeddedServer"], parent: Path | None = None
) -> Iterator[str]:
    """The URL in `variable`, or that of a server with its data in a temporary folder.

    Args:
        variable: an environment variable.
        make: makes the server; with a folder for its data.
        parent: of the temporary folder; the usual one by default.
    """
    if url := os.environ.get(variable):
        yield url
        return
    with scratch_directory(parent) as directory:
        try:
            server = make(directory)
        except ModuleNotFoundError as error:
            raise pytest.UsageError(f"no {error.name}: install saqueduct[embedded], or set {variable}") from None
        try:
            yield server.start()
        finally:
            server.stop()


@contextmanager
def scratch_directory(parent: Path | None = None) -> Iterator[Path]:
    """A directory whose path is short enough for a unix socket and whose parents PostgreSQL's user may pass."""
    directory = Path(tempfile.mkdtemp(prefix="saqueduct-tests-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
