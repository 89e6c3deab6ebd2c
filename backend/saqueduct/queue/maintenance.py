"""Cleanup of a queue's keys in Redis: jobs that finished long ago, and entries without a job."""

from collections.abc import AsyncIterator, Sequence
from typing import cast

from saq.job import TERMINAL_STATUSES

from saqueduct.queue.core import QueueCore

LISTS = {"high": "queued:high", "normal": "queued", "low": "queued:low"}
"""The lists of a queue, by priority."""

DAY = 24 * 60 * 60 * 1000
"""Milliseconds."""

ENTRIES_AT_ONCE = 500
"""Entries that one script call checks."""

REMOVED_AT_ONCE = 10_000

GONE = "gone"
"""Marks a list entry as not a job; until it is removed, workers skip it like the entry of a job that ended."""


class Maintenance:
    """Cleans up the keys of one queue.

    Args:
        core: of the queue.
        removed_at_once: marked entries that one command removes from a list; the default takes some ten milliseconds
            of server time in a long list.
    """

    def __init__(self, core: QueueCore, *, removed_at_once: int = REMOVED_AT_ONCE) -> None:
        self._core = core
        self._removed_at_once = removed_at_once

    async def delete_finished(self, days: int) -> int:
        """Delete jobs kept without limit (`ttl=0`) that ended more than `days` days ago; returns how many."""
        oldest = int(await self._core.time() * 1000) - days * DAY
        deleted = 0
        async for job in self._core.saq.iter_jobs(list(TERMINAL_STATUSES)):
            if job.ttl == 0 and 0 < job.completed < oldest:
                deleted += await self._core.scripts.run("forget", job.key, job.completed)
        return deleted

    async def check_entries(self, batch_size: int) -> AsyncIterator[tuple[int, int]]:
        """Check the queue's incomplete jobs and drop entries whose job no longer exists (evicted, deleted by hand).

        Yields:
            Entries checked and entries dropped, a batch of about `batch_size` at a time.
        """
        cursor = found = 0
        key = self._core.namespace("incomplete")
        while True:
            cursor, entries = await self._core.redis.zscan(key, cursor, count=batch_size)
            dropped = await self._drop([cast("bytes", job_id) for job_id, _ in entries])
            found += dropped
            yield len(entries), dropped
            if not cursor:
                break
        if found:
            for level, name in LISTS.items():
                await self._clear(level, self._core.namespace(name))

    async def _drop(self, ids: Sequence[bytes]) -> int:
        dropped = 0
        for first in range(0, len(ids), ENTRIES_AT_ONCE):
            dropped += await self._core.scripts.run("dangling", *ids[first : first + ENTRIES_AT_ONCE])
        return dropped

    async def _clear(self, level: str, name: str) -> None:
        """Remove entries from a list that are not incomplete jobs: one pass over the list instead of a search for
        each."""
        done = marked = 0
        while True:
            looked_at, some = await self._core.scripts.run("clear", level, done, ENTRIES_AT_ONCE, GONE)
            done, marked = done + looked_at, marked + some
            if not looked_at:
                break
        while marked > 0 and await self._core.redis.lrem(name, self._removed_at_once, GONE):
            marked -= self._removed_at_once
