"""Sizes: how much queues, the store in PostgreSQL and the console hold or read at once, in one place."""

import dataclasses

from saqueduct.common.near_names import NamedFields

MIB = 1024 * 1024

LARGEST_JOB = 160 * MIB
"""Maximum total bytes of a job: arguments and result have at most 64 MiB each (`MAX_PAYLOAD_CEILING`)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sizes(NamedFields):
    """Bounds of memory and of single calls; all whole numbers.

    Attributes:
        job_bytes: maximum bytes of a job with its arguments, its result and its meta; at most 160 MiB, as two jobs must
            fit into one command to Redis.
        waiting_records: job records that wait in a process at most; when PostgreSQL is unavailable for longer, the
            oldest are dropped.
        waiting_ends: ended durable jobs that wait in a process at most. Redis keeps the others, and the relay writes
            them: they are whole jobs, which need several times the memory of a record.
        full_records: waiting records from which a worker takes no new jobs, as long as PostgreSQL answers; less than
            `waiting_records`.
        searched_records: newest job records among which the console searches for text, and today's records for what
            only the indexes of past days find; as many one page of a list reads over HTTP and on the command line.
    """

    job_bytes: int = LARGEST_JOB
    waiting_records: int = 100_000
    waiting_ends: int = 10_000
    full_records: int = 20_000
    searched_records: int = 50_000
