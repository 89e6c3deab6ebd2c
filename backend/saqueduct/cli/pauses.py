"""Pauses of queues and schedules as the commands show them."""

import datetime as dt
from typing import Self

import msgspec

from saqueduct.cli import output
from saqueduct.queue.pausing import Pause


class PauseView(msgspec.Struct):
    """Who has paused it, why and since when."""

    by: str
    why: str
    since: dt.datetime

    @classmethod
    def of(cls, pause: Pause) -> Self:
        return cls(pause.by, pause.why, moment(pause.since))

    def __str__(self) -> str:
        by, why = f"by {self.by} " if self.by else "", f": {self.why}" if self.why else ""
        return output.clean(f"{by}since {output.when(self.since)}{why}", one_line=True)


def moment(seconds: float) -> dt.datetime:
    """Epoch seconds as an aware time."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
