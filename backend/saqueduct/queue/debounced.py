"""Debounced jobs as `lua/debounce.lua` expects them: as text in which it fills in what Redis alone knows."""

import os
from typing import Any

import msgspec

from saqueduct.broker.scripts import text
from saqueduct.errors import ConfigurationError
from saqueduct.flow.debounce import Debounce
from saqueduct.queue.core import QueueCore
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import DEBOUNCE, DURABLE

Window = tuple[Any, ...]
"""Wait, maximum wait or 0, the placeholders of the window and of the start, and whether the job is durable."""


def encoded(core: QueueCore, job: EngineJob, debounce: Debounce) -> tuple[str | msgspec.Raw, Window]:
    """A job as text, with placeholders for its start and for its window, which is when its first call was made and how
    many there were. Its key is random, so that the script can replace it too.

    Raises:
        ConfigurationError: the queue stores jobs in another form than text.
    """
    entry, scheduled = job.meta[DEBOUNCE], job.scheduled
    window, start = f"{job.key} window", 10**15 + int.from_bytes(os.urandom(6))
    job.meta[DEBOUNCE], job.scheduled = [*entry[:2], window], start
    try:
        stored = core.serialize(job)
    finally:
        job.meta[DEBOUNCE], job.scheduled = entry, scheduled
    placeholders = f'"{window}"', str(start)
    for each in (job.key, *placeholders):
        if not (each in stored if isinstance(stored, str) else each.encode() in stored):
            raise ConfigurationError(
                f"the queue {core.name!r} has a dump= that does not store jobs as JSON, which debounce needs"
            )
    durable = bool(job.meta.get(DURABLE))
    return text(stored), (debounce.wait, debounce.max_wait or 0, *placeholders, durable)
