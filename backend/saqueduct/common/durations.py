"""Durations counted in fixed buckets: counts of several processes and times add up, and percentiles are read off."""

from collections.abc import Sequence
from typing import Final

import msgspec

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0)
"""Upper bounds in seconds; the last bucket has none. Kept in PostgreSQL: other bounds need a migration."""


class Durations(msgspec.Struct, kw_only=True):
    """A distribution in seconds; null where nothing was counted.

    A percentile is interpolated within its bucket, and at most 1800: the bound of the last one.
    """

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, counts: Sequence[int], seconds: float) -> "Durations":
        """Of counts for each bucket and the sum of all durations."""
        total = sum(counts)
        if not total:
            return cls(count=0, mean=None, p50=None, p95=None, p99=None)
        p50, p95, p99 = (percentile(counts, share) for share in (0.5, 0.95, 0.99))
        return cls(count=total, mean=round(seconds / total, 6), p50=p50, p95=p95, p99=p99)


def percentile(counts: Sequence[int], share: float) -> float:
    """The duration that this share of all stays below.

    >>> percentile([0, 0, 10] + [0] * 14, 0.5)
    0.0175
    """
    wanted, below, lower = share * sum(counts), 0.0, 0.0
    for upper, count in zip(BUCKETS, counts, strict=False):
        if count and below + count >= wanted:
            return round(lower + (upper - lower) * (wanted - below) / count, 6)
        below, lower = below + count, upper
    return BUCKETS[-1]
