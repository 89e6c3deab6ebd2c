"""The keys of a queue in Redis, without those of its jobs."""

from saqueduct.queue.pausing import PAUSED, RESUMED, SCHEDULES_PAUSED
from saqueduct.queue.unrecorded import UNRECORDED
from saqueduct.worker.waiting import AWAITED, LEAVING
from saqueduct.worker.worker_health import VITALS

KEYS = (
    "incomplete",
    "queued",
    "queued:high",
    "queued:low",
    "leases",
    "owners",
    "active",
    "aborting",
    "levels",
    "turns",
    "schedules",
    "schedules:timings",
    "schedules:ticks",
    "schedules:jobs",
    VITALS,
    "published",
    PAUSED,
    RESUMED,
    SCHEDULES_PAUSED,
    "stats",
    "waiters",
    AWAITED,
    LEAVING,
    UNRECORDED,
    "schedules:declarations",
)
"""A queue's keys in the order of `scripts/prelude.lua`: SAQ's are incomplete, queued, active and stats."""
