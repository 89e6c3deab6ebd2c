"""Limits: how many jobs of a key run at once, and how many start in a time."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from saqueduct.common.near_names import NamedFields
from saqueduct.common.text import check_text, printable
from saqueduct.common.time_limits import check_number

MOST = 1_000_000
"""The largest number of a limit."""

SHORTEST_STEP = 0.00001
"""Minimum seconds between two starts of a rate: the clock of Redis has microseconds."""

LONGEST_PERIOD = 31_557_600
"""Maximum seconds of a rate's period: a year."""

LONGEST_NAME = 400
"""Maximum characters of a limit's name: a task's name is one too."""


@dataclasses.dataclass(frozen=True, slots=True)
class Concurrency(NamedFields):
    """At most so many jobs run at once, for each value of some arguments.

        @task(limits=(Concurrency(2, by="tenant_id"),))
        async def export(ctx: Context, *, tenant_id: int) -> None: ...

    A job takes its place when a worker leases it, and keeps it as long as the lease lasts.

    Attributes:
        limit: jobs that run at once.
        by: the argument, or a tuple of arguments, whose values have a limit each; empty: one limit for all jobs.
        name: tasks that give the same name share the limit; empty: the name of the task.
        ordered: True: a job keeps its place between its attempts, so that those behind it wait for its end. With a
            limit of 1 its jobs run strictly one after another.

    Raises:
        ValueError: an invalid value; names it.
    """

    limit: int
    by: str | Collection[str] = ()
    name: str = ""
    ordered: bool = False

    def __post_init__(self) -> None:
        _check_count("Concurrency: limit", self.limit)
        if not isinstance(self.ordered, bool):
            raise ValueError(f"Concurrency: ordered takes True or False, not {self.ordered!r}")
        _check_shared(self)

    @property
    def rule(self) -> str:
        """The limit as text for the scripts, see `lua/limits.lua`."""
        return f"{'o' if self.ordered else 'c'} {self.limit}"


@dataclasses.dataclass(frozen=True, slots=True)
class Rate(NamedFields):
    """At most so many jobs start in a time, for each value of some arguments; retries are starts too.

        stripe = Rate("stripe", 90, per=10, by="account_id")

        @task(limits=(stripe,))
        async def sync(ctx: Context, *, account_id: str) -> None: ...

    Starts are spread evenly (GCRA): with 90 in 10 seconds one each 111 ms. In any `per` seconds, by the clock of Redis,
    at most `limit + burst` jobs start.

    Attributes:
        name: tasks that use the same name share the limit.
        limit: jobs that start in `per` seconds.
        per: seconds.
        burst: jobs that may start at once after a quiet time.
        by: as in `Concurrency`.

    Raises:
        ValueError: an invalid value; names it.
    """

    name: str
    limit: int
    per: float = 1.0
    burst: int = 1
    by: str | Collection[str] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError('Rate: give it a name, which tasks with this limit share: Rate("stripe", 90, per=10)')
        _check_count("Rate: limit", self.limit)
        _check_count("Rate: burst", self.burst)
        check_number("Rate: per", self.per, least=0.001, most=LONGEST_PERIOD)
        if self.per / self.limit < SHORTEST_STEP:
            raise ValueError(f"Rate: at most {1 / SHORTEST_STEP:,.0f} starts a second, not {self.limit} in {self.per}")
        _check_shared(self)

    @property
    def rule(self) -> str:
        """The limit as text for the scripts, see `lua/limits.lua`."""
        return f"r {self.limit} {float(self.per)!r} {self.burst}"


Limit = Concurrency | Rate

FAIR = "\x01"
"""First character of what a job carries about its turns, among its limits: no limit has such a name."""

MOST_WEIGHT = 1000
"""The largest weight."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fair(NamedFields):
    """The values of some arguments take turns: one with many jobs does not delay the jobs of others.

        @task(fair="tenant_id")
        async def sync(ctx: Context, *, tenant_id: int) -> None: ...

        @task(fair=Fair("tenant_id", weights={7: 4}))
        async def export(ctx: Context, *, tenant_id: int) -> None: ...

    Attributes:
        by: the argument, or a tuple of arguments, whose values take turns.
        weights: jobs that a value may start in its turn, by value, for a tuple of arguments by the tuple of their
            values; 1 for others.

    Raises:
        ValueError: an invalid value; names it.
    """

    by: str | tuple[str, ...]
    weights: Mapping[Any, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        names: Any = (self.by,) if isinstance(self.by, str) else self.by
        if not isinstance(names, tuple) or not names or not all(isinstance(each, str) and each for each in names):
            raise ValueError('fair takes the name of an argument, or a tuple of names: fair="tenant_id"')
        if not isinstance(self.weights, Mapping):
            raise ValueError(f"Fair: weights takes a mapping of values to whole numbers, not {self.weights!r}")
        for value, weight in self.weights.items():
            _check_count(f"Fair: weights[{value!r}]", weight, MOST_WEIGHT)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return (self.by,) if isinstance(self.by, str) else self.by

    def weight_of(self, arguments: Mapping[str, Any]) -> int:
        """Jobs that the value of these arguments may start in its turn."""
        values = tuple(arguments.get(name) for name in self.parameters)
        try:
            return self.weights.get(values[0] if isinstance(self.by, str) else values, 1)
        except TypeError:
            # A list, for example, cannot be the key of a mapping.
            return 1


def as_fair(given: Any) -> Fair | None:
    """The option `fair` of a task as `Fair`; None: its jobs take no turns.

    Raises:
        ValueError: it is not an argument, a tuple of arguments, or `Fair`.
    """
    return given if given is None or isinstance(given, Fair) else Fair(given)


def parameters_of(limit: Limit) -> tuple[str, ...]:
    """The names of the arguments that a limit has a key for."""
    return (limit.by,) if isinstance(limit.by, str) else tuple(limit.by)


def name_of(limit: Limit, task: str) -> str:
    """The name of a limit of a task."""
    return limit.name or task


def gate_of(name: str, key: str) -> str:
    """A limit for one key, see `lua/limits.lua`."""
    return f"{name}\t{key}"


def check_name(what: str, name: str) -> None:
    """Check that a text can be the name of a limit.

    Raises:
        ValueError: it cannot; says why.
    """
    check_text(f"{what}: name", name)
    if printable(name) != name or "\t" in name:
        raise ValueError(f"{what}: name: {name!r} contains control characters: remove them")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"{what}: name: {name[:40]!r}... is longer than {LONGEST_NAME} characters")


def check_limits(limits: Any, option: str = "limits", beside: tuple[Limit, ...] = ()) -> None:
    """Check the limits of a task.

    Args:
        limits: as given.
        option: the option of the task.
        beside: the task's other limits.

    Raises:
        ValueError: they are not a tuple of limits, or two have one name.
    """
    example = f'such as {option}=(Concurrency(2, by="tenant_id"),)'
    if not isinstance(limits, tuple):
        raise ValueError(f"{option} takes a tuple, {example}, not {limits!r}")
    for each in limits:
        if not isinstance(each, Concurrency | Rate):
            raise ValueError(f"{option} takes Concurrency(...) and Rate(...), {example}, not {each!r}")
    names = [each.name for each in (*beside, *limits)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        what = f"the name {twice[0]!r}" if twice[0] else "the name of the task, because they have none"
        raise ValueError(f"{option}: two limits have {what}: give each its own name")


def _check_count(name: str, value: Any, most: int = MOST) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} takes a whole number, not {value!r}")
    check_number(name, value, least=1, most=most)


def _check_shared(limit: Limit) -> None:
    what = type(limit).__name__
    if not isinstance(limit.name, str):
        raise ValueError(f"{what}: name takes a text, not {limit.name!r}")
    check_name(what, limit.name)
    names: Any = (limit.by,) if isinstance(limit.by, str) else limit.by
    if not isinstance(names, tuple) or not all(isinstance(each, str) and each for each in names):
        raise ValueError(f'{what}: by takes the name of an argument, or a tuple of names: by="tenant_id"')
