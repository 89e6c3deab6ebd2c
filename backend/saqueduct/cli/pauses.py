"""Pauses of queues and schedules as the commands show them."""

import dataclasses
import datetime as dt
from typing import Any, Self

import msgspec

from saqueduct.cli import output
from saqueduct.queue.limit_states import LimitState
from saqueduct.queue.pausing import Pause
from saqueduct.queue.schedule_states import ScheduleState


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


def fields_of(state: LimitState | ScheduleState) -> dict[str, Any]:
    """The fields of a state by name, a pause or a change by hand as it is shown."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: PauseView.of(value) if isinstance(value, Pause) else value for name, value in fields.items()}


def moment(seconds: float) -> dt.datetime:
    """Epoch seconds as an aware time."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
