"""Debounce: calls that follow each other within seconds become one job, with the arguments of the last."""

import dataclasses
from collections.abc import Collection
from typing import Any

from saqueduct.common.near_names import NamedFields
from saqueduct.common.time_limits import check_number

LONGEST_WAIT = 31_557_600
"""Maximum seconds of a wait: a year."""


@dataclasses.dataclass(frozen=True, slots=True)
class Debounce(NamedFields):
    """Run a task once for many calls: some seconds after the last one, with its arguments.

        @task(debounce=Debounce(5, max_wait=60, by="doc_id"))
        async def index(ctx: Context, *, doc_id: int, text: str) -> None: ...

    Redis decides in the step that enqueues, by its own clock.

    Attributes:
        wait: seconds after a call during which a further call takes its place.
        max_wait: seconds after the first of these calls when the job starts at the latest; None: no maximum.
        by: the argument, or a tuple of arguments, whose values have a job each; empty: all arguments.

    Raises:
        ValueError: an invalid value; names it.
    """

    wait: float
    max_wait: float | None = None
    by: str | Collection[str] = ()

    def __post_init__(self) -> None:
        check_number("Debounce: wait", self.wait, least=0.001, most=LONGEST_WAIT)
        if self.max_wait is not None:
            check_number("Debounce: max_wait", self.max_wait, least=0.001, most=LONGEST_WAIT)
            if self.max_wait < self.wait:
                raise ValueError(f"Debounce: max_wait is at least wait: {self.wait:g}, not {self.max_wait:g}")
        names: Any = self.parameters
        if not isinstance(names, tuple) or not all(isinstance(each, str) and each for each in names):
            raise ValueError('Debounce: by takes the name of an argument, or a tuple of names: by="doc_id"')

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the arguments that have a job each; empty: all."""
        return (self.by,) if isinstance(self.by, str) else self.by  # type: ignore[return-value]
