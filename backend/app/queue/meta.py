"""Entries of `Job.meta`: what travels with a job and has no field in SAQ's Job."""

EXPIRES_AT = "expires_at"
"""Epoch seconds after which the job must not start."""

AT_MOST_ONCE = "at_most_once"
"""True when the job must not run again after the death of its worker."""

CLAIM = "unique"
"""The claim that the job gives up at its end."""

RECOVERIES = "recoveries"
"""Times that it was put back after the death of its worker."""

ROUND = "round"
"""Times that it was queued again by hand after its end."""

SCHEDULE = "schedule"
"""Key of the schedule that made the job."""

TICK = "tick"
"""The tick that it was made for, in epoch seconds."""

DURABLE = "durable"
"""True when PostgreSQL remembers the job until it has ended."""

PARENT = "parent"
"""Key of the job that enqueued it."""

TRACE_ID = "trace_id"
"""32 hex digits that all jobs share which one request led to, see W3C Trace Context."""

TAGS = "tags"
"""Words to find its record by."""

REPLAY_OF = "replay_of"
"""Key of the dead letter that it was made of."""
