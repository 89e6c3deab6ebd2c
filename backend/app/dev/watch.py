"""Changes of the source and of `.env`, for reload."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from watchfiles import Change, awatch

WatchFilter = Callable[[Change, str], bool]


class WatchError(Exception):
    """Changes cannot be watched (any longer), for example because the system has no more watches."""


class Watch:
    """What to watch: the Python files under each of `sources`, and the file `env_file`, which need not exist."""

    def __init__(self, sources: Sequence[Path], env_file: Path) -> None:
        self.sources = [source.resolve() for source in sources]
        self.env_file = env_file.resolve()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[AsyncIterator[list[Path]]]:
        """Watch inside the block; yields the changed paths of each burst of changes (editors write several).

        No change from the block's start on is missed. Iterating may raise WatchError.
        """
        found: asyncio.Queue[list[Path] | WatchError] = asyncio.Queue()
        watchers = [
            *(
                asyncio.create_task(_collect(found, source, recursive=True, keep=self._is_source))
                for source in self.sources
            ),
            # The folder and not the file: editors replace files, and a watch on one would be lost with it.
            asyncio.create_task(_collect(found, self.env_file.parent, recursive=False, keep=self._is_env_file)),
        ]
        await asyncio.sleep(0)  # each has made its watch when it first waits
        try:
            yield _items(found)
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    def _is_source(self, _: Change, path: str) -> bool:
        return path.endswith(".py")

    def _is_env_file(self, _: Change, path: str) -> bool:
        return Path(path) == self.env_file


async def _items(found: "asyncio.Queue[list[Path] | WatchError]") -> AsyncIterator[list[Path]]:
    while True:
        item = await found.get()
        if isinstance(item, WatchError):
            raise item
        yield item


async def _collect(
    found: "asyncio.Queue[list[Path] | WatchError]", directory: Path, *, recursive: bool, keep: WatchFilter
) -> None:
    try:
        async for changes in awatch(directory, recursive=recursive, watch_filter=keep, step=50, debounce=400):
            found.put_nowait(sorted({Path(path) for _, path in changes}))
    except OSError as error:
        found.put_nowait(WatchError(str(error)))
