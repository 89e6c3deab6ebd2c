"""Limits on guessing: how often one client may try to log in or to register."""

import logging
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from saqueduct.litestar.attempts import Attempts, client_network, too_many
from saqueduct.logs import loggable

logger = logging.getLogger("app.security")

LOGINS_PER_MINUTE = 10
REGISTRATIONS_PER_MINUTE = 10


class AttemptLimit:
    """A guard that lets a network pass so many times a minute, across all processes.

    Args:
        kind: what is counted.
        limit: requests a minute.
    """

    def __init__(self, kind: str, limit: int) -> None:
        self._kind = kind
        self._limit = limit

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Count the request, and let it pass or say when the next one may.

        Raises:
            TooManyRequestsException: the network has used up its requests.
        """
        attempts = await connection.app.state.dishka_container.get(Attempts)
        network = client_network(connection)
        count = await attempts.count(self._kind, network)
        if count.attempts > self._limit:
            logger.warning("refused: too many %s from %s", self._kind, loggable(network))
            raise too_many(count)


LOGIN_LIMIT = AttemptLimit("logins", LOGINS_PER_MINUTE)
REGISTRATION_LIMIT = AttemptLimit("registrations", REGISTRATIONS_PER_MINUTE)
