"""The keys of a queue in Redis, without those of its jobs."""

PAUSED = "paused"
"""Since when the queue is paused, by whom and why; no such key while it is not."""

RESUMED = "resumed"
"""A list: an entry in it wakes the workers that wait for the end of a pause."""

SCHEDULES_PAUSED = "schedules:paused"
"""A hash: by schedule what PAUSED holds of a queue; of a resumed one see `lua/resume_schedule.lua`."""

UNRECORDED = "unrecorded"
"""A hash: by mark when the job ended, in epoch seconds of the server, and after a space its JSON."""

AWAITED = "awaited"
"""A list: entries whose coming has woken a worker that leases at once."""

LEAVING = "leaving"
"""A set: workers that stop, and lease no more for having waited."""

VITALS = "vitals"
"""A hash: by worker when it reported last, in epoch seconds, and its report as JSON."""

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
