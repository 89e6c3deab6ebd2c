"""What has been reported, and what remains to be: each condition once, and once more when it is over."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from saqueduct.telemetry.alerts.alert import Alert, Severity
from saqueduct.telemetry.alerts.conditions import DEAD_LETTERS_WINDOW, Condition, Sample

SAMPLED = 60.0
"""Seconds between two samples."""

MOST_WORKERS = 1000
"""Live workers of a sample at most; there may be more, which then do not count."""


class Standing(msgspec.Struct):
    """A condition that holds, or whose end has not been reported everywhere."""

    name: str
    subject: str
    severity: Severity
    patience: float
    summary: str
    remedy: str
    since: float
    over: bool = False
    reported_by: list[str] = []
    """The channels that have reported it, and not its end."""

    def due(self, now: float, channels: Iterable[str]) -> list[str]:
        """The channels that have to report it, or its end, now."""
        if self.over:
            return [name for name in channels if name in self.reported_by]
        if now - self.since < self.patience:
            return []
        return [name for name in channels if name not in self.reported_by]

    def reported(self, channel: str) -> None:
        """This channel has reported it, or its end."""
        if self.over:
            self.reported_by.remove(channel)
        else:
            self.reported_by.append(channel)

    def alert(self, environment: str) -> Alert:
        """What to report."""
        return Alert(
            self.name, self.subject, self.severity, self.summary, self.remedy, self.since, self.over, environment
        )


class Reported(msgspec.Struct):
    """What processes hand over to each other, in Redis."""

    standing: list[Standing] = []
    samples: list[Sample] = []
    """Of the last DEAD_LETTERS_WINDOW, one in SAMPLED seconds, oldest first."""

    def take(self, found: Iterable[Condition], now: float, channels: Sequence[str]) -> None:
        """Continue with what is wrong now.

        Args:
            found: the conditions that hold.
            now: epoch seconds by the clock of Redis.
            channels: those that exist: what another one has reported before is forgotten.
        """
        before = {(each.name, each.subject): each for each in self.standing}
        standing = []
        for condition in found:
            old = before.pop((condition.name, condition.subject), None)
            since = now if old is None or (old.over and not old.reported_by) else old.since
            reported_by = [] if old is None else [name for name in old.reported_by if name in channels]
            values = (condition.name, condition.subject, condition.severity, condition.patience, condition.summary)
            standing.append(Standing(*values, condition.remedy, since, reported_by=reported_by))
        for old in before.values():
            old.reported_by, old.over = [name for name in old.reported_by if name in channels], True
            if old.reported_by:
                standing.append(old)
        self.standing = standing

    def due(self, now: float, channels: Sequence[str]) -> Iterator[tuple[Standing, str]]:
        """What to report now, and by which channel."""
        for standing in self.standing:
            for channel in standing.due(now, channels):
                yield standing, channel

    def forget_what_is_over(self) -> None:
        """Drop the conditions whose end has been reported everywhere."""
        self.standing = [each for each in self.standing if each.reported_by or not each.over]

    def sample(self, sample: Sample) -> None:
        """Keep a sample, unless the last one is recent."""
        self.samples = [each for each in self.samples if 0 <= sample.at - each.at <= DEAD_LETTERS_WINDOW]
        if not self.samples or sample.at - self.samples[-1].at >= SAMPLED:
            self.samples.append(sample)
