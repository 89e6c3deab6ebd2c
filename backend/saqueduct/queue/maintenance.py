"""Cleanup of a queue's keys in Redis: jobs that finished long ago, and entries without a job."""

from collections.abc import AsyncIterator, Sequence
from typing import cast

from saq.job import TERMINAL_STATUSES

from saqueduct.queue.queue import EngineQueue

LISTS = {"high": "queued:high", "normal": "queued", "low": "queued:low"}
"""The lists of a queue, by priority."""

DAY = 24 * 60 * 60 * 1000
"""Milliseconds."""

ENTRIES_AT_ONCE = 500
"""Entries that one script call checks."""

REMOVED_AT_ONCE = 10_000
"""Marked entries that one command removes from a list: some ten milliseconds of server time in a long list."""

GONE = "gone"
"""Marks a list entry as not a job; until it is removed, workers skip it like the entry of a job that ended."""


async def delete_finished(queue: EngineQueue, days: int) -> int:
    """Delete jobs kept without limit (`ttl=0`) that ended more than `days` days ago; returns how many."""
    oldest = int(await queue.time() * 1000) - days * DAY
    deleted = 0
    async for job in queue.iter_jobs(list(TERMINAL_STATUSES)):
        if job.ttl == 0 and 0 < job.completed < oldest:
            deleted += await queue.scripts.run("forget", job.key, job.completed)
    return deleted


async def check_entries(queue: EngineQueue, batch_size: int) -> AsyncIterator[tuple[int, int]]:
    """Check the queue's incomplete jobs and drop entries whose job no longer exists (evicted, deleted by hand).

    Yields:
        Entries checked and entries dropped, a batch of about `batch_size` at a time.
    """
    cursor = found = 0
    while True:
        cursor, entries = await queue.redis.zscan(queue.namespace("incomplete"), cursor, count=batch_size)
        dropped = await _drop(queue, [cast("bytes", job_id) for job_id, _ in entries])
        found += dropped
        yield len(entries), dropped
        if not cursor:
            break
    if found:
        for level, name in LISTS.items():
            await _clear(queue, level, queue.namespace(name))


async def _drop(queue: EngineQueue, ids: Sequence[bytes]) -> int:
    dropped = 0
    for first in range(0, len(ids), ENTRIES_AT_ONCE):
        dropped += await queue.scripts.run("dangling", *ids[first : first + ENTRIES_AT_ONCE])
    return dropped


async def _clear(queue: EngineQueue, level: str, name: str) -> None:
    """Remove entries from a list that are not incomplete jobs: one pass over the list instead of a search for each."""
    done = marked = 0
    while True:
        looked_at, some = await queue.scripts.run("clear", level, done, ENTRIES_AT_ONCE, GONE)
        done, marked = done + looked_at, marked + some
        if not looked_at:
            break
    while marked > 0 and await queue.redis.lrem(name, REMOVED_AT_ONCE, GONE):
        marked -= REMOVED_AT_ONCE
