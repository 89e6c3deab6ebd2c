"""Which searches read every record of a day, because no index of that day finds what matches."""

import datetime as dt

from saqueduct.common.clock import time_now
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.timings import PostgresTimings


def is_found(which: RecordFilter) -> bool:
    """True where indexes find the records of each day in their order."""
    if is_rare(which):
        return False
    # Those of today that are not complete have an index.
    return (which.task is None and which.queue is None) or which.status not in (None, "complete")


def is_found_dead(which: RecordFilter) -> bool:
    """True where indexes find the dead letters of each day in their order; those of a task have one."""
    return not is_rare(which) and which.queue is None and which.error is None


def is_rare(which: RecordFilter) -> bool:
    """True where a record that matches may be the only one of a million."""
    return any(each is not None for each in (which.text, which.arguments, which.tag, which.trace))


def indexed_until(timings: PostgresTimings) -> dt.datetime:
    """The end of the days whose records have all indexes for searches."""
    indexed = dt.datetime.fromtimestamp(time_now() - timings.unindexed, dt.UTC)
    return indexed.replace(hour=0, minute=0, second=0, microsecond=0)
