"""Schedules: when a task runs by itself."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from croniter import croniter


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """A cron declaration of one task.

    Attributes:
        cron: five fields (minute hour day month weekday), or six with seconds last; read in
            WORKER_CRON_TIMEZONE.
        kwargs: arguments of every job the schedule makes; they override the function's defaults.

    Raises:
        ValueError: `cron` is no cron expression.
    """

    cron: str
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not croniter.is_valid(self.cron):
            raise ValueError(
                f"{self.cron!r} is not a cron expression: five fields, minute hour day month weekday, "
                'such as "0 3 * * *" for every day at 03:00'
            )
