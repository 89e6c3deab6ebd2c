"""The event loop that owns the connections: asyncio's objects work in one loop, and fail in obscure ways in another."""

import asyncio

from saqueduct.errors import OtherEventLoop


class LoopGuard:
    """Remembers the first event loop that uses some connections, and refuses others until `release`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> None:
        """Check that the running event loop is that one, before anything is sent or opened.

        Raises:
            OtherEventLoop: it is not.
        """
        running = asyncio.get_running_loop()
        if self._loop is not running:
            if self._loop is not None:
                raise OtherEventLoop(ended=self._loop.is_closed())
            self._loop = running

    def release(self) -> None:
        """The connections are closed: the next event loop may open new ones."""
        self._loop = None
