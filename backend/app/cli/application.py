"""The application under a command: settings, connected queues and the container, for the time of the command."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from dishka import AsyncContainer

from app.container import build_container
from app.queue.config import build_config
from app.settings import load_settings
from saqueduct import Queues, Saqueduct


class Application:
    """What a command works with.

    Attributes:
        queues: connected.
        container: `async with app.container() as request` is one transaction; what writes, commits it itself.
    """

    def __init__(self, queues: Queues, container: AsyncContainer) -> None:
        self.queues = queues
        self.container = container


@asynccontextmanager
async def opened() -> AsyncIterator[Application]:
    """The application for the time of a block.

    Raises:
        SettingsError: the environment is invalid, or names no servers.
        ConfigurationError: the tasks do not fit the settings.
    """
    settings = load_settings().require_servers()
    saqueduct = Saqueduct(build_config(settings))
    container = build_container(settings, saqueduct.queues)
    async with saqueduct:
        try:
            yield Application(saqueduct.queues, container)
        finally:
            await container.close()


def connected(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a click callback of a coroutine function that takes the application first."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        async def serve() -> None:
            async with opened() as app:
                await command(app, *args, **kwargs)

        asyncio.run(serve())

    return run
