"""Unique jobs: which jobs block another one, and their claims."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Literal

from saqueduct.common.near_names import NamedFields, did_you_mean
from saqueduct.common.time_limits import check_number
from saqueduct.flow.debounce import Debounce
from saqueduct.tasks.canonical import digest

_WAITING = ("queued", "active")
_ENDED = ("complete", "failed", "aborted")
EVERY_STATE = (*_WAITING, *_ENDED)
"""All states that `Unique` accepts."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unique(NamedFields):
    """Only one job at a time for equal arguments; checked in Redis, in the same step that enqueues.

        @task(unique=Unique(by=("user_id",), on_conflict="raise"))
        async def rebuild_feed(ctx: Context, *, user_id: int, full: bool = False) -> None: ...

    Attributes:
        by: names of the arguments that make two jobs the same; empty: all of them.
        period: seconds after its enqueue during which a job blocks another one; None: as long as it has one
            of the `states`.
        states: states in which a job blocks another: "queued" (including delayed), "active", and with a `period` also
            "complete", "failed", "aborted".
        on_conflict: "ignore": the enqueue returns the existing job; "raise": it raises `DuplicateJob`; "replace": a
            waiting job is aborted and replaced; if the existing job runs, the new one is enqueued as well;
            "cancel": the same, but a running job is aborted, and the new one starts when it has ended.

    Raises:
        ValueError: unknown states or on_conflict, ended states without a period, a period of 0 or less, states or a
            period with "cancel".
    """

    by: Collection[str] = ()
    period: float | None = None
    states: Collection[str] = _WAITING
    on_conflict: Literal["ignore", "raise", "replace", "cancel"] = "ignore"

    def __post_init__(self) -> None:
        if isinstance(self.by, str) or isinstance(self.states, str):
            raise ValueError("Unique takes tuples of names: by=('user_id',), states=('queued', 'active')")
        if unknown := sorted(set(self.states) - set(EVERY_STATE)):
            raise ValueError(f"Unique: unknown states {unknown}: {did_you_mean(unknown[0], EVERY_STATE)}")
        if not self.states:
            raise ValueError("Unique: states must not be empty")
        if self.period is None and set(self.states) & set(_ENDED):
            raise ValueError("Unique: with ended states say for how long: period=seconds")
        if self.period is not None:
            check_number("Unique: period", self.period, least=0.001)
        conflicts = ("ignore", "raise", "replace", "cancel")
        if self.on_conflict not in conflicts:
            raise ValueError(f"Unique: on_conflict must be one of {', '.join(conflicts)}, not {self.on_conflict!r}")
        if self.on_conflict == "cancel" and (self.period is not None or set(self.states) != set(_WAITING)):
            raise ValueError('Unique: on_conflict="cancel" takes no period and no states: the newest job always wins')

    def claim(self, task: str, arguments: Mapping[str, Any]) -> "Claim":
        """The claim of a job.

        Args:
            task: the task's name.
            arguments: all its arguments as the declared types, omitted ones with their defaults.
        """
        same = {name: arguments.get(name) for name in self.by} if self.by else arguments
        return Claim(f"{task}:{digest(same)}", self)


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a unique or debounced job: an id that only jobs with the same arguments share.

    Attributes:
        id: the id.
        unique: which jobs block it, and what happens then.
        debounce: of a call that takes the place of one before; None: it is a unique job.
    """

    id: str
    unique: Unique
    debounce: Debounce | None = None

    def described(self) -> dict[str, Any]:
        """The claim as JSON builtins: its id, and the fields of `Unique`."""
        fields = {name: getattr(self.unique, name) for name in ("period", "on_conflict")}
        if self.replaces:
            # Also for workers of an earlier version, which know no "cancel"; see `newest.restored`.
            fields["on_conflict"] = "replace"
        return {"id": self.id, "by": list(self.unique.by), "states": list(self.unique.states), **fields}

    @property
    def replaces(self) -> bool:
        """True if a waiting job with this claim gives way to a newer one."""
        return self.unique.on_conflict in ("replace", "cancel")

    @property
    def ends_with_the_job(self) -> bool:
        """True if the claim is released as soon as the job ends."""
        return not set(self.unique.states) & set(_ENDED)
