"""Changes of the source and of `.env`, for reload."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from watchfiles import Change, awatch

WatchFilter = Callable[[Change, str], bool]


class Watch:
    """What to watch: the Python files under `source`, and the file `env_file`, which need not exist."""

    def __init__(self, source: Path, env_file: Path) -> None:
        self.source = source.resolve()
        self.env_file = env_file.resolve()

    async def changes(self) -> AsyncIterator[list[Path]]:
        """The changed paths, once a burst of changes (editors write several) is over.

        Raises:
            OSError: the system has no more watches to give.
        """
        found: asyncio.Queue[list[Path] | OSError] = asyncio.Queue()
        watchers = [
            asyncio.create_task(_collect(found, self.source, recursive=True, keep=self._is_source)),
            # The folder and not the file: editors replace files, and a watch on one would be lost with it.
            asyncio.create_task(_collect(found, self.env_file.parent, recursive=False, keep=self._is_env_file)),
        ]
        try:
            while True:
                item = await found.get()
                if isinstance(item, OSError):
                    raise item
                yield item
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    def _is_source(self, _: Change, path: str) -> bool:
        return path.endswith(".py")

    def _is_env_file(self, _: Change, path: str) -> bool:
        return Path(path) == self.env_file


async def _collect(
    found: "asyncio.Queue[list[Path] | OSError]", directory: Path, *, recursive: bool, keep: WatchFilter
) -> None:
    try:
        async for changes in awatch(directory, recursive=recursive, watch_filter=keep, step=50, debounce=400):
            found.put_nowait(sorted({Path(path) for _, path in changes}))
    except OSError as error:
        found.put_nowait(error)
