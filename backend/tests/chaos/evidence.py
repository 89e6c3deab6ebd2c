"""The evidence of a chaos run: what was promised, what bodies did, and what Redis and PostgreSQL say at the end."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct import EngineQueue
from saqueduct.broker.connections import Connections
from tests.chaos.announcements import TERMINAL, End
from tests.chaos.excuses import Excuses
from tests.chaos.journal import Line
from tests.chaos.tasks import CULPRITS, WITH_SESSION

CHUNK = 500

SPENT = "its worker died "
"""Begin of the error of a job whose workers died more often than it is recovered: as promised, it has failed."""


class Record(NamedTuple):
    """A job record; `number` is what the job was to write with its session."""

    key: str
    task: str
    status: str
    error: str | None
    number: int | None = None


class Stored(NamedTuple):
    """A job as Redis has it."""

    status: str
    error: str | None


@dataclasses.dataclass(kw_only=True)
class Evidence:
    """What the oracle judges by.

    Attributes:
        tasks: task of each job that this run made, by key, acknowledged or not.
        acknowledged: keys of jobs whose enqueue returned.
        failures_due: attempts of a job that its body fails by itself.
        numbers: what jobs write with their sessions, by key.
        lines: of the journal, in order.
        ends: announced ones, by key.
        stored: jobs in Redis, by key.
        records: of PostgreSQL.
        committed: numbers in the ledger.
        runs: how often each number was written by a job's session.
        excuses: what a fault accounts for.
        stalled: what should be empty before the workers are replaced, and how much is in it, by name.
        left: what should be empty at the end.
        stops_late: workers that did not end after SIGTERM.
        slots: of a worker.
        workers: how many there are.
    """

    tasks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    acknowledged: Iterable[str] = ()
    failures_due: Mapping[str, int] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    lines: Sequence[Line] = ()
    ends: Mapping[str, Sequence[End]] = dataclasses.field(default_factory=dict)
    stored: Mapping[str, Stored] = dataclasses.field(default_factory=dict)
    records: Sequence[Record] = ()
    committed: frozenset[int] = frozenset()
    runs: Counter[int] = dataclasses.field(default_factory=Counter)
    excuses: Excuses = dataclasses.field(default_factory=Excuses)
    stalled: Mapping[str, int] = dataclasses.field(default_factory=dict)
    left: Mapping[str, int] = dataclasses.field(default_factory=dict)
    stops_late: Sequence[str] = ()
    slots: int = 20
    workers: int = 3

    @cached_property
    def starts(self) -> dict[str, list[Line]]:
        """Of bodies, by the job's key."""
        return self._of("start")

    @cached_property
    def finishes(self) -> dict[str, list[Line]]:
        """Ends of bodies, by the job's key."""
        return self._of("end")

    @cached_property
    def record_of(self) -> dict[str, Record]:
        """By the job's key."""
        return {record.key: record for record in self.records}

    @cached_property
    def key_of(self) -> dict[int, str]:
        """The key of the job that was to write a number with its session."""
        recorded = {
            record.number: record.key for record in self.records if record.task in WITH_SESSION and record.number
        }
        return recorded | {number: key for key, number in self.numbers.items()}

    def task(self, key: str) -> str:
        """Name of a job's task; empty where nobody knows."""
        if key in self.tasks:
            return self.tasks[key]
        if key in self.record_of:
            return self.record_of[key].task
        return next((line.task for line in self.starts.get(key, ())), "")

    def innocent(self, key: str) -> bool:
        """True unless the job is itself a fault."""
        return self.task(key) not in CULPRITS

    def status(self, key: str) -> str:
        """How a job ended, by all that is known; empty: it has not."""
        record = self.record_of.get(key)
        reported = [self.stored[key].status if key in self.stored else "", record.status if record else ""]
        reported += [end.status for end in self.ends.get(key, ())]
        return next((status for status in reported if status in TERMINAL), "")

    def error(self, key: str) -> str:
        """The last line of a failed job's error, without SQLAlchemy's advertisement."""
        sources = (self.stored.get(key), self.record_of.get(key))
        text = next((source.error for source in sources if source and source.error), "")
        lines = [line for line in text.strip().splitlines() if not line.startswith("(Background on")]
        return lines[-1] if lines else ""

    def spent(self, key: str) -> bool:
        """True when it failed because its workers died too often."""
        return self.error(key).startswith(SPENT) and "at most once" not in self.error(key)

    def _of(self, what: str) -> dict[str, list[Line]]:
        found: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            if line.what == what:
                found[line.key].append(line)
        return found


async def stored(url: str, keys: Sequence[str]) -> dict[str, Stored]:
    """The jobs of these keys that Redis has."""
    connections = Connections(url)
    queue = EngineQueue(connections.client("default"), "default")
    found = {}
    for first in range(0, len(keys), CHUNK):
        for job in await queue.jobs(keys[first : first + CHUNK]):
            if job is not None:
                found[job.key] = Stored(job.status.value, job.error)
    await queue.disconnect()
    return found


async def records(engine: AsyncEngine) -> list[Record]:
    """All job records."""
    query = "SELECT key, task, status, error, (arguments ->> 'number')::integer FROM job_records"
    return [Record(*row) for row in await _rows(engine, query)]


async def ledger(engine: AsyncEngine) -> tuple[frozenset[int], Counter[int]]:
    """The numbers that transactions committed, and how often each was written by a job."""
    committed = frozenset(number for (number,) in await _rows(engine, "SELECT number FROM ledger"))
    return committed, Counter(number for (number,) in await _rows(engine, "SELECT number FROM runs"))


async def open_records(engine: AsyncEngine) -> int:
    """Records which say that their job waits."""
    return len(await _rows(engine, "SELECT 1 FROM job_records WHERE status = 'queued'"))


async def outbox(engine: AsyncEngine) -> int:
    """Rows of the outbox: jobs on their way to Redis, and durable jobs that have not ended."""
    return len(await _rows(engine, "SELECT 1 FROM outbox"))


async def _rows(engine: AsyncEngine, query: str) -> Sequence[Any]:
    async with engine.connect() as connection:
        return (await connection.execute(text(query))).all()
