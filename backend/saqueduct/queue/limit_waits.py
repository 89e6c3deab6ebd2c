"""Why a job waits: which of its limits, who holds them, its place in the line, and when it may start."""

import dataclasses
from typing import Any

from saq import Job
from saq.job import Status

from saqueduct.common.text import decoded
from saqueduct.errors import InvalidArguments, UnknownTask
from saqueduct.flow.limits import name_of, parameters_of
from saqueduct.queue.core import QueueCore
from saqueduct.queue.limit_states import declared_limits, numbers_in
from saqueduct.tasks.definition import TaskLookup
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.limit_keys import limits_of_job
from saqueduct.tasks.redaction import REDACTED
from saqueduct.tasks.shared_limits import redacted_places

NAMED = 10
"""Jobs that are named as the holders of a limit."""


@dataclasses.dataclass(frozen=True, slots=True)
class LimitWait:
    """One limit of a job that waits.

    Attributes:
        limit: its name.
        key: the arguments that it is for, as text, without values that the task redacts; empty: it is for all jobs.
        open: True: this limit does not hold the job up.
        closed: True: a job has closed it with `Throttled`.
        running: jobs that hold it; None: it is a rate.
        holders: keys of some of them.
        rule: its numbers, as text.
        ahead: jobs in front of this one that wait for exactly the same; None: too many to count.
        others: other lines of jobs that wait for this limit, which take turns with this one.
        expected_at: epoch seconds at which it may start at the earliest, about; None: that depends on other jobs.
        text: all this in a sentence.
    """

    limit: str
    key: str
    open: bool
    closed: bool
    running: int | None
    holders: tuple[str, ...]
    rule: str
    ahead: int | None
    others: int
    expected_at: float | None
    text: str = ""

    def said(self, now: float) -> "LimitWait":
        """With its text.

        Args:
            now: epoch seconds by the clock of Redis.
        """
        of = f" for {self.key}" if self.key else ""
        parts = [f"limit {self.limit}{of}: {self.rule}"]
        if self.closed:
            parts.append("a job has closed it")
        elif self.running is not None:
            parts.append(f"{self.running} running" + (f" ({', '.join(self.holders)})" if self.holders else ""))
        parts.append("many jobs before this one" if self.ahead is None else f"{_jobs(self.ahead)} before this one")
        if self.others:
            parts.append(f"takes turns with {self.others} other {'line' if self.others == 1 else 'lines'} of jobs")
        if self.expected_at is not None:
            parts.append(f"may start in about {max(0.0, self.expected_at - now):.1f} s")
        return dataclasses.replace(self, text=", ".join(parts))


class LimitWaits:
    """Finds out which limits the jobs of one queue wait for.

    Args:
        core: of the queue.
        tasks: those of the application; None: they are unknown.
    """

    def __init__(self, core: QueueCore, tasks: TaskLookup | None) -> None:
        self._core = core
        self._tasks = tasks

    async def of(self, job: Job) -> list[LimitWait]:
        """The limits that a due job waits for, or a running one that takes them; those that hold it up first."""
        if not isinstance(job, EngineJob):
            return []
        answer = await self._core.scripts.run("why", self._core.job_id(job.key), NAMED)
        if not answer:
            return []
        now, before, *gates = answer
        shown = self._keys_that_are_taken(gates) if job.status is Status.ACTIVE else self._keys_of(job)
        waits = [self._wait(int(before), gate, shown).said(float(now)) for gate in gates]
        return sorted(waits, key=lambda wait: wait.open)

    def _wait(self, before: int, gate: list[Any], shown: dict[tuple[str, str], str]) -> LimitWait:
        name_and_key, rule, free, opens, closed, held, lines, rank, holders = gate
        name, _, key = decoded(name_and_key).partition("\t")
        text = decoded(rule)
        rate, numbers = text.startswith("r"), numbers_in(text)
        ahead = None if before < 0 else before
        expected = None
        if opens and ahead is not None:
            turns = ahead * max(1, lines) + max(0, rank)
            step = numbers.per / numbers.limit if rate and numbers.per is not None else 0.0
            expected = float(opens) + turns * step if rate or not turns else None
        return LimitWait(
            limit=name,
            key=shown.get((name, key), REDACTED) if key else "",
            open=free > 0,
            closed=closed == b"1",
            running=None if rate else held,
            holders=tuple(self._core.job_key_from_id(decoded(each)) for each in holders),
            rule=str(numbers) if not text.startswith("u") else "no limit any more",
            ahead=ahead,
            others=max(0, lines - (rank >= 0)),
            expected_at=expected,
        )

    def _keys_of(self, job: EngineJob) -> dict[tuple[str, str], str]:
        """By limit and key the text to show, of those keys that the current code makes of the job's arguments: only of
        these it is known which arguments they have, and whether the task redacts them."""
        try:
            task = self._tasks.get(job.function) if self._tasks is not None else None
            if task is None:
                return {}
            limits, redact = task.defaults.limits, task.signature.redact
            keys = limits_of_job(task.name, limits, task.signature.filled(job.kwargs or {}), redact)
        except (UnknownTask, InvalidArguments):
            return {}
        return {
            (name_of(limit, task.name), key): f"{', '.join(parameters_of(limit))} = {key}"
            for limit, (_, key, _) in zip(limits, keys, strict=True)
            if not redact.intersection(parameters_of(limit))
        }

    def _keys_that_are_taken(self, gates: list[Any]) -> dict[tuple[str, str], str]:
        """The same for limits that a running job takes, unless one of their tasks redacts the argument."""
        tasks = [] if self._tasks is None else self._tasks.get_all_tasks()
        known, shown = declared_limits(tasks), {}
        for name, _, key in (decoded(gate[0]).partition("\t") for gate in gates):
            if (declared := known.get(name)) is not None:
                names = parameters_of(declared.limit)
                if not redacted_places(name, tasks):
                    shown[name, key] = f"{', '.join(names)} = {key}"
        return shown


def _jobs(number: int) -> str:
    return "no job" if number == 0 else "1 job" if number == 1 else f"{number} jobs"
