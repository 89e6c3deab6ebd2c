"""Limits in operation: their numbers, and changes of them while jobs wait."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from saqueduct.common.text import decoded as as_text
from saqueduct.errors import UnknownLimit
from saqueduct.flow.limits import Concurrency, Limit, Rate, name_of, parameters_of
from saqueduct.queue.core import QueueCore
from saqueduct.queue.pausing import Pause, decoded, encoded
from saqueduct.tasks.definition import TaskDefinition

LANES_AT_ONCE = 500
"""Lanes that one script call looks at."""

LIFTED = "u"
"""Kind of the rule of a limit that no task has any more, see `lua/limits.lua`."""


@dataclasses.dataclass(frozen=True, slots=True)
class LimitNumbers:
    """The numbers of a limit.

    Attributes:
        limit: jobs that run at once, or that start in `per` seconds.
        per: seconds, of a rate.
        burst: jobs that may start at once, of a rate.
    """

    limit: int
    per: float | None
    burst: int | None

    @classmethod
    def of(cls, limit: Limit) -> "LimitNumbers":
        """Those of a declaration."""
        return cls(limit.limit, limit.per, limit.burst) if isinstance(limit, Rate) else cls(limit.limit, None, None)

    def __str__(self) -> str:
        if self.per is None:
            return f"{self.limit} at once"
        return f"{self.limit} in {self.per:g} s, burst {self.burst}"


@dataclasses.dataclass(frozen=True, slots=True)
class LimitState(LimitNumbers):
    """A limit, as it is declared, and with the numbers that are valid now.

    Attributes:
        name: of the limit.
        queue: name of the queue in which it applies.
        kind: what it limits.
        tasks: names of the tasks that have it.
        by: the parameters whose values have a limit each; empty: one limit for all jobs.
        ordered: True: a job keeps its place between its attempts.
        declared: its numbers in the code.
        changed: who changed it by hand, why and when; None: it is as the workers have declared it.
    """

    name: str
    queue: str
    kind: Literal["concurrency", "rate"]
    tasks: tuple[str, ...]
    by: tuple[str, ...]
    ordered: bool
    declared: LimitNumbers
    changed: Pause | None

    @property
    def numbers(self) -> LimitNumbers:
        """Those that are valid now."""
        return LimitNumbers(self.limit, self.per, self.burst)


@dataclasses.dataclass(frozen=True, slots=True)
class Declared:
    """A limit of some tasks."""

    limit: Limit
    queue: str
    tasks: tuple[str, ...]


def declared_limits(tasks: Iterable[TaskDefinition]) -> dict[str, Declared]:
    """The limits of these tasks, by name."""
    found: dict[str, Declared] = {}
    for task in tasks:
        for limit in task.defaults.all_limits:
            name = name_of(limit, task.name)
            before = found[name].tasks if name in found else ()
            found[name] = Declared(limit, task.queue_name, (*before, task.name))
    return found


def find_limit(tasks: Iterable[TaskDefinition], name: str) -> Declared:
    """The limit of that name.

    Raises:
        UnknownLimit: no task has it.
    """
    known = declared_limits(tasks)
    if name not in known:
        raise UnknownLimit(name, sorted(known))
    return known[name]


def changed(limit: Limit, numbers: Mapping[str, Any]) -> Limit:
    """A limit with other numbers.

    Args:
        limit: as it is now.
        numbers: of `limit`, `per` and `burst` those that change.

    Raises:
        ValueError: nothing changes, a number is out of range, or a limit of this kind has no such number.
    """
    given = {name: value for name, value in numbers.items() if value is not None}
    if not given:
        raise ValueError("give at least one of limit, per and burst")
    if isinstance(limit, Concurrency) and (wrong := sorted(given.keys() - {"limit"})):
        raise ValueError(f"{wrong[0]}: a Concurrency has only the number limit")
    return dataclasses.replace(limit, **given)


class LimitStates:
    """The limits of one queue in Redis.

    Args:
        core: of the queue.
    """

    def __init__(self, core: QueueCore) -> None:
        self._core = core

    async def states(self, limits: Mapping[str, Declared]) -> list[LimitState]:
        """The limits of that names, all of this queue."""
        async with self._core.redis.pipeline(transaction=True) as pipe:
            pipe.hmget(self._core.namespace("flow:limits"), list(limits))
            pipe.hmget(self._core.namespace("flow:changed"), list(limits))
            rules, notes = await pipe.execute()
        return [
            _state(name, each, rule, note)
            for (name, each), rule, note in zip(limits.items(), rules, notes, strict=True)
        ]

    async def change(self, name: str, declared: Limit, limit: Limit | None, by: str = "", why: str = "") -> bool:
        """Set the numbers of a limit, for jobs that wait too; None: those that are declared.

        Returns:
            True if they are others now.
        """
        rule = "" if limit is None else limit.rule
        different, _ = await self._core.scripts.run("set_limit", name, rule, encoded(by, why), declared.rule)
        await self.stir([name.encode()])
        return bool(different)

    async def stir(self, changed: Sequence[bytes]) -> None:
        """Let jobs go that waited for these limits, as far as their new rules allow it."""
        cursor: bytes = b"0"
        while changed:
            cursor = await self._core.scripts.run("stir", cursor, LANES_AT_ONCE, *changed)
            if cursor == b"0":
                return


def numbers_in(rule: str) -> LimitNumbers:
    """The numbers in a rule, see `lua/limits.lua`."""
    kind, limit, *rate = rule.split(" ")
    per, burst = (float(rate[0]), int(rate[1])) if kind == "r" else (None, None)
    return LimitNumbers(int(limit), per, burst)


def _state(name: str, declared: Declared, rule: bytes | None, note: bytes | None) -> LimitState:
    limit = declared.limit
    known = as_text(rule) if rule else ""
    valid = known if known and not known.startswith(LIFTED) else limit.rule
    return LimitState(
        name=name,
        queue=declared.queue,
        kind="rate" if isinstance(limit, Rate) else "concurrency",
        tasks=declared.tasks,
        by=parameters_of(limit),
        ordered=isinstance(limit, Concurrency) and limit.ordered,
        **dataclasses.asdict(numbers_in(valid)),
        declared=LimitNumbers.of(limit),
        changed=decoded(note) if note else None,
    )
