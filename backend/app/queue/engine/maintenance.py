"""Upkeep of a queue's keys in Redis: what finished long ago, and what points to nothing."""

from collections.abc import AsyncIterator
from typing import cast

from saq.job import TERMINAL_STATUSES
from saq.utils import now

from app.queue.engine.queue import EngineQueue

DAY = 24 * 60 * 60 * 1000
"""Milliseconds."""

_DROP_DANGLING = """
local dropped = 0
for i = 3, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 0 then
        dropped = dropped + redis.call('ZREM', KEYS[1], KEYS[i])
        redis.call('LREM', KEYS[2], 0, KEYS[i])
    end
end
return dropped
"""
# Checked again inside the script: between MGET and here a job of that key may have been enqueued.


async def delete_finished(queue: EngineQueue, days: int) -> int:
    """Delete jobs kept without limit (`ttl=0`) that ended more than `days` days ago; returns how many."""
    oldest = now() - days * DAY
    deleted = 0
    async for job in queue.iter_jobs(list(TERMINAL_STATUSES)):
        if job.ttl == 0 and 0 < job.completed < oldest:
            deleted += await queue.redis.delete(job.id)
    return deleted


async def check_entries(queue: EngineQueue, batch_size: int) -> AsyncIterator[tuple[int, int]]:
    """Go through the queue's incomplete jobs and drop entries whose job is gone (evicted, deleted by hand).

    Yields:
        Entries checked and entries dropped, a batch of about `batch_size` at a time.
    """
    drop = queue.redis.register_script(_DROP_DANGLING)
    incomplete, queued = queue.namespace("incomplete"), queue.namespace("queued")
    cursor = 0
    while True:
        cursor, entries = await queue.redis.zscan(incomplete, cursor, count=batch_size)
        ids = [cast("bytes", job_id) for job_id, _ in entries]
        found = await queue.redis.mget(ids) if ids else []
        gone = [job_id for job_id, value in zip(ids, found, strict=True) if value is None]
        yield len(ids), int(await drop(keys=[incomplete, queued, *gone])) if gone else 0
        if not cursor:
            return
