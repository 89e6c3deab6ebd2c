"""The keys of a queue in Redis, except those of its jobs."""

PAUSED = "paused"
"""Since when the queue is paused, by whom and why; the key does not exist while it is not paused."""

RESUMED = "resumed"
"""A list: an entry in it wakes the workers that wait for the end of a pause."""

SCHEDULES_PAUSED = "schedules:paused"
"""A hash: for each schedule what PAUSED contains for a queue; for a resumed one see `lua/resume_schedule.lua`."""

UNRECORDED = "unrecorded"
"""A hash: for each mark when the job ended, in epoch seconds of the server, then a space and its JSON."""

AWAITED = "awaited"
"""A list: entries whose arrival has woken a worker, which leases immediately."""

LEAVING = "leaving"
"""A set: stopping workers, which must not lease jobs for a wait that began earlier."""

REPORTS = "vitals"
"""A hash: for each worker when it last reported, in epoch seconds, and its report as JSON."""

WORKERS_PAUSED = "workers:paused"
"""A hash: for each worker that takes no jobs what PAUSED contains for a queue."""

ALERTS = "alerts"
"""A hash: which process watches for alerts until when, and what has been reported."""

LANES = "flow:lanes"
"""A hash: the lane of each job that has limits and has not ended; see `lua/limits.lua`."""

CHANNELS = "channels"
"""How many channels the Redis server has, as known for some seconds; see `listened` in `lua/prelude.lua`."""

KEYS = {
    "INCOMPLETE": "incomplete",
    "QUEUED": "queued",
    "HIGH": "queued:high",
    "LOW": "queued:low",
    "LEASES": "leases",
    "OWNERS": "owners",
    "ACTIVE": "active",
    "ABORTING": "aborting",
    "LEVELS": "levels",
    "TURNS": "turns",
    "DECLARED": "schedules",
    "TIMINGS": "schedules:timings",
    "TICKS": "schedules:ticks",
    "TICKED": "schedules:jobs",
    "REPORTS": REPORTS,
    "PUBLISHED": "published",
    "PAUSED": PAUSED,
    "RESUMED": RESUMED,
    "SCHEDULES_PAUSED": SCHEDULES_PAUSED,
    "STATS": "stats",
    "WAITERS": "waiters",
    "AWAITED": AWAITED,
    "LEAVING": LEAVING,
    "UNRECORDED": UNRECORDED,
    "DECLARATIONS": "schedules:declarations",
    "ALERTS": ALERTS,
    "LANES": LANES,
    "WORKERS_PAUSED": WORKERS_PAUSED,
    "CHANNELS": CHANNELS,
}
"""A queue's keys, by the names that scripts have for them: SAQ's are incomplete, queued, active and stats."""
