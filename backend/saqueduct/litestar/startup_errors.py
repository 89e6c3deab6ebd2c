"""Errors of the lifespan that uvicorn logs: the message alone."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from saqueduct.errors import StartError

LOGGER = logging.getLogger("uvicorn.error")
"""Logs what an application says about its failed startup."""


@contextmanager
def without_traceback() -> Iterator[None]:
    """Let uvicorn log a StartError of the block without a traceback.

    Litestar hands an error of the lifespan to the server as a formatted traceback, and nothing else of it.
    """
    try:
        yield
    except StartError as error:
        LOGGER.addFilter(_MessageOnly(str(error)))
        raise


class _MessageOnly(logging.Filter):
    """Cuts the traceback in front of a message, once."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self._message = message

    def filter(self, record: logging.LogRecord) -> bool:
        # By its first line: Litestar's task group wraps the error, whose further lines are then indented.
        if self._message.partition("\n")[0] in record.getMessage():
            record.msg, record.args = self._message, ()
            LOGGER.removeFilter(self)
        return True
