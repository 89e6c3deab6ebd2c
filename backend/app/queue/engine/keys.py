"""The keys of a queue in Redis, without those of its jobs."""

from app.queue.engine.pausing import PAUSED, RESUMED, SCHEDULES_PAUSED
from app.queue.engine.unrecorded import UNRECORDED
from app.queue.engine.vitals import VITALS
from app.queue.engine.waiting import AWAITED, LEAVING

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
