"""The history of queues and tasks: counts and histograms per minute, hour and day, added up, read and pruned."""

import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import TextClause, delete, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from saqueduct.common.durations import BUCKETS, Durations
from saqueduct.postgres.base import in_schema, quoted
from saqueduct.postgres.local_settings import local_settings
from saqueduct.postgres.models import HistoryRow
from saqueduct.postgres.time_steps import KEPT_DAYS, Point, Span, Summary, Total, Totals, Trend

COUNTS: Final = ("enqueued", "complete", "failed", "aborted", "retried", "recovered")
"""Columns with counts, in the order of `Numbers.counts`."""

SIZE: Final = len(BUCKETS) + 1
"""Counts of a histogram."""

ROWS: Final = 500
"""Rows of one statement."""

BATCH: Final = 2000
"""Rows that one statement deletes."""

_ADD = """
    INSERT INTO {table} AS old (step, at, queue, task, {counts}, wait_seconds, run_seconds, waits, runs)
    SELECT step, to_timestamp(at), queue, task, {counts}, wait_seconds, run_seconds, waits, runs
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS new(step int, at float8, queue text, task text, {types},
        wait_seconds float8, run_seconds float8, waits bigint[], runs bigint[])
    ON CONFLICT (step, at, queue, task) DO UPDATE SET {sums},
        wait_seconds = old.wait_seconds + excluded.wait_seconds, run_seconds = old.run_seconds + excluded.run_seconds,
        waits = ARRAY(SELECT coalesce(a, 0) + coalesce(b, 0)
            FROM unnest(old.waits, excluded.waits) WITH ORDINALITY AS u(a, b, i) ORDER BY i),
        runs = ARRAY(SELECT coalesce(a, 0) + coalesce(b, 0)
            FROM unnest(old.runs, excluded.runs) WITH ORDINALITY AS u(a, b, i) ORDER BY i)
"""

_CHOSEN = """
    FROM {table} WHERE step = :source AND at >= to_timestamp(:first) AND at < to_timestamp(:end)
        AND (CAST(:queue AS text) IS NULL OR queue = :queue) AND (CAST(:task AS text) IS NULL OR task = :task)
"""

_BY_INDEX: Final = {"enable_seqscan": "off", "max_parallel_workers_per_gather": "0", "enable_sort": "off"}
"""The planner takes step and time for independent, expects many times the rows and groups that there are, and would
read the whole table, most of which are minutes, and sort the wide rows in place of adding them up by a hash."""


class Place(NamedTuple):
    """What a row counts."""

    minute: int
    """Epoch seconds."""
    queue: str
    task: str


class Numbers(NamedTuple):
    """What happened in a time; the histograms have a count for each of BUCKETS, and one for longer durations."""

    counts: list[int]
    seconds: list[float]
    """Of all waits, and of all runs."""
    waits: list[int]
    runs: list[int]

    @classmethod
    def none(cls) -> "Numbers":
        """Of a time in which nothing happened."""
        return cls([0] * len(COUNTS), [0.0, 0.0], [0] * SIZE, [0] * SIZE)

    @property
    def empty(self) -> bool:
        """True when nothing happened."""
        return not (any(self.counts) or any(self.waits) or any(self.runs))

    def plus(self, other: "Numbers", sign: int = 1) -> "Numbers":
        """The sum, or with sign -1 the difference."""
        return Numbers(
            [a + sign * b for a, b in zip(self.counts, other.counts, strict=True)],
            [a + sign * b for a, b in zip(self.seconds, other.seconds, strict=True)],
            [a + sign * b for a, b in zip(self.waits, other.waits, strict=True)],
            [a + sign * b for a, b in zip(self.runs, other.runs, strict=True)],
        )

    def fields(self) -> dict[str, Any]:
        """Those of a `Totals`."""
        wait, run = self.seconds
        durations = {"wait": Durations.of(self.waits, wait), "run": Durations.of(self.runs, run)}
        return dict(zip(COUNTS, self.counts, strict=True)) | durations


async def add(connection: AsyncConnection, found: Mapping[Place, Numbers], schema: str | None) -> None:
    """Add numbers to the rows of their minutes, hours and days, in the transaction of a connection."""
    rows: dict[tuple[int, int, str, str], Numbers] = {}
    for place, numbers in found.items():
        for step in KEPT_DAYS:
            key = (step, place.minute // step * step, place.queue, place.task)
            rows[key] = rows[key].plus(numbers) if key in rows else numbers
    # In one order: two processes that add to the same rows must not wait for each other.
    ordered = sorted(rows.items())
    for first in range(0, len(ordered), ROWS):
        encoded = msgspec.json.encode([_columns(*row) for row in ordered[first : first + ROWS]]).decode()
        await connection.execute(_add_statement(schema), {"rows": encoded})


def _columns(key: tuple[int, int, str, str], numbers: Numbers) -> dict[str, Any]:
    step, at, queue, task = key
    wait, run = numbers.seconds
    place = {"step": step, "at": at, "queue": queue, "task": task, "wait_seconds": wait, "run_seconds": run}
    counts = dict(zip(COUNTS, numbers.counts, strict=True))
    return place | counts | {"waits": numbers.waits, "runs": numbers.runs}


def _add_statement(schema: str | None) -> TextClause:
    return text(
        _ADD.format(
            table=quoted(HistoryRow.__tablename__, schema),
            counts=", ".join(COUNTS),
            types=", ".join(f"{name} bigint" for name in COUNTS),
            sums=", ".join(f"{name} = old.{name} + excluded.{name}" for name in COUNTS),
        )
    )


class TimeSeries:
    """Reads the history in the transaction of a session.

    Args:
        session: of the caller.
        schema: of the tables; None: what the `search_path` of the session's connection finds.
    """

    def __init__(self, session: AsyncSession, schema: str | None = None) -> None:
        self._session = session
        self._schema = schema

    async def series(self, span: Span, queue: str | None = None, task: str | None = None) -> list[Point]:
        """One point for each step of a time, also where nothing happened.

        Args:
            span: the time and its steps.
            queue, task: of these alone.
        """
        return (await self.trend(span, queue, task)).points

    async def trend(self, span: Span, queue: str | None = None, task: str | None = None) -> Trend:
        """The sum of a time and its points. Arguments as `series`."""
        found = await self._grouped(_beginning(span), span, queue, task)
        return _trend(span, {key[0]: numbers for key, numbers in found.items()})

    async def trends(self, span: Span, by: Literal["queue", "task"]) -> dict[str, Trend]:
        """The trend of each queue or task to which something happened."""
        found: dict[str, dict[int, Numbers]] = {}
        for (name, at), numbers in (await self._grouped(f"{by}, {_beginning(span)}", span, None, None)).items():
            found.setdefault(name, {})[at] = numbers
        return {name: _trend(span, points) for name, points in found.items()}

    async def summaries(self, span: Span, by: Literal["queue", "task"]) -> dict[str, Summary]:
        """As `trends`, without the durations of each step, which take most of the time where there are many names."""
        ended: dict[str, dict[int, int]] = {}
        group = f"{by}, {_beginning(span)}"
        columns = f"{group}, CAST(sum(complete + failed + aborted) AS bigint)"
        for name, at, count in await self._rows(columns, group, span):
            ended.setdefault(name, {})[at] = count
        steps = range(span.first, span.end, span.step)
        return {
            key[0]: Summary(Totals(**numbers.fields()), [ended.get(key[0], {}).get(at, 0) for at in steps])
            for key, numbers in (await self._grouped(by, span, None, None)).items()
        }

    async def totals(self, span: Span, queue: str | None = None, task: str | None = None) -> list[Total]:
        """What happened to each task of each queue in a time, the busiest first. Arguments as `series`."""
        found = await self._grouped("queue, task", span, queue, task)
        totals = [Total(queue=key[0], task=key[1], **numbers.fields()) for key, numbers in found.items()]
        return sorted(totals, key=lambda total: total.complete + total.failed + total.aborted, reverse=True)

    async def prune(self, after_batch: Callable[[], Awaitable[None]]) -> int:
        """Delete rows that are older than KEPT_DAYS; returns how many. `after_batch` commits each batch."""
        return sum([await self._prune(step, days, after_batch) for step, days in KEPT_DAYS.items()])

    async def _prune(self, step: int, days: int, after_batch: Callable[[], Awaitable[None]]) -> int:
        key = (HistoryRow.step, HistoryRow.at, HistoryRow.queue, HistoryRow.task)
        old = (HistoryRow.step == step, HistoryRow.at < func.now() - dt.timedelta(days=days))
        batch = select(*key).where(*old).order_by(*key).limit(BATCH)
        statement = delete(HistoryRow).where(tuple_(*key).in_(batch)).returning(HistoryRow.at)
        options = {"synchronize_session": False, **in_schema(self._schema)}
        deleted = 0
        while True:
            gone = len((await self._session.execute(statement, execution_options=options)).all())
            await after_batch()
            deleted += gone
            if gone < BATCH:
                return deleted

    async def _grouped(
        self, group: str, span: Span, queue: str | None, task: str | None
    ) -> dict[tuple[Any, ...], Numbers]:
        """Sums by the columns or expressions of `group`."""
        # Position by position: to unnest the histograms would make a row of each count.
        names = [*COUNTS, *(f"{name}[{place}]" for name in ("waits", "runs") for place in range(1, SIZE + 1))]
        sums = ", ".join(f"CAST(coalesce(sum({name}), 0) AS bigint)" for name in names)
        columns = f"{group}, sum(wait_seconds), sum(run_seconds), {sums}"
        found: dict[tuple[Any, ...], Numbers] = {}
        keys = len(COUNTS)
        for row in await self._rows(columns, group, span, queue, task):
            width = len(row) - len(names) - 2
            seconds, counts = list(row[width : width + 2]), list(row[width + 2 :])
            waits, runs = counts[keys : keys + SIZE], counts[keys + SIZE :]
            found[tuple(row[:width])] = Numbers(counts[:keys], seconds, waits, runs)
        return found

    async def _rows(
        self, columns: str, group: str, span: Span, queue: str | None = None, task: str | None = None
    ) -> Iterable[Any]:
        chosen = _CHOSEN.format(table=quoted(HistoryRow.__tablename__, self._schema))
        given = {
            "source": span.source,
            "first": float(span.first),
            "end": float(span.end),
            "queue": queue,
            "task": task,
        }
        async with local_settings(self._session, _BY_INDEX):
            return await self._session.execute(text(f"SELECT {columns} {chosen} GROUP BY {group}"), given)


def _beginning(span: Span) -> str:
    """The step of a row, in SQL."""
    # Whole numbers: a division of fractions for each row takes longer than to add it up.
    return f"CAST(extract(epoch FROM at) AS bigint) / {span.step} * {span.step}"


def _trend(span: Span, found: Mapping[int, Numbers]) -> Trend:
    nothing, total = Numbers.none(), Numbers.none()
    for numbers in found.values():
        total = total.plus(numbers)
    points = [
        Point(at=dt.datetime.fromtimestamp(at, dt.UTC), **found.get(at, nothing).fields())
        for at in range(span.first, span.end, span.step)
    ]
    return Trend(Totals(**total.fields()), points)
