"""The rows of the outbox: a job as a row, a row as a job, and the statement that writes rows."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
from saq import Job

from saqueduct.postgres.base import quoted
from saqueduct.queue.core import QueueCore
from saqueduct.tasks.debouncing import debounce_of
from saqueduct.tasks.job import EngineJob, own_fields
from saqueduct.tasks.job_meta import DURABLE, ROUND
from saqueduct.tasks.newest import restored
from saqueduct.tasks.unique import Claim, Unique

logger = logging.getLogger("saqueduct")

WRITTEN = {
    "queue": "text",
    "key": "text",
    "queued": "bigint",
    "round": "smallint",
    "job": "text",
    "unique": "text",
    "durable": "boolean",
    "place": "int",
}
"""The values of rows to write, each an array of this type in the statement."""


def insert_into(schema: str | None, parameters: Sequence[str]) -> str:
    """SQL that writes rows, which are enqueued in the order of their places; it returns the keys that are new.

    Args:
        schema: of the tables.
        parameters: as SQL, in the order of WRITTEN.
    """
    arrays = ", ".join(f"CAST({each} AS {kind}[])" for each, kind in zip(parameters, WRITTEN.values(), strict=True))
    return f"""
    INSERT INTO {quoted("outbox", schema)} (queue, key, queued, round, job, "unique", durable, created_at)
    SELECT queue, key, queued, round, job, CAST("unique" AS jsonb), durable,
        statement_timestamp() + place * interval '1 microsecond'
    FROM unnest({arrays}) AS written(queue, key, queued, round, job, "unique", durable, place)
    ON CONFLICT DO NOTHING
    RETURNING key
    """  # noqa: S608  (quoted names)


def columns(rows: Sequence[tuple[dict[str, Any], int]]) -> dict[str, list[Any]]:
    """Rows and their places as the arrays of the statement."""
    values: dict[str, list[Any]] = {name: [row[name] for row, _ in rows] for name in rows[0][0]}
    values["unique"] = [value and msgspec.json.encode(value).decode() for value in values["unique"]]
    values["place"] = [place for _, place in rows]
    return values


class OutboxRows:
    """The rows of one queue's jobs.

    Args:
        core: of the queue.
    """

    __slots__ = ("_core",)

    def __init__(self, core: QueueCore) -> None:
        self._core = core

    def of(self, job: Job) -> dict[str, Any]:
        """The row of a job."""
        claim = own_fields(job).claim
        encoded = self._core.serialize(job)
        return {
            "queue": self._core.name,
            "key": job.key,
            "queued": job.queued,
            "round": int(job.meta.get(ROUND, 0)),
            "job": encoded if isinstance(encoded, str) else encoded.decode(),
            "unique": claim.described() if claim else None,
            "durable": bool(job.meta.get(DURABLE)),
        }

    def job(self, row: Mapping[Any, Any]) -> EngineJob:
        """The job of a row.

        Raises:
            ValueError, TypeError, LookupError: it cannot be read.
        """
        job = self._core.deserialize(row["job"])
        if job is None:
            raise ValueError("the row has no job")
        if unique := row["unique"]:
            options = {name: value for name, value in unique.items() if name != "id"}
            job.claim = Claim(unique["id"], restored(Unique(**options), job), debounce_of(job))
        return job

    def readable(self, rows: Sequence[asyncpg.Record]) -> Iterator[EngineJob]:
        """The jobs of rows that asyncpg has read; the relay sets the unreadable ones aside."""
        for row in rows:
            unique = row["unique"]
            try:
                yield self.job({"job": row["job"], "unique": unique and msgspec.json.decode(unique)})
            except (ValueError, TypeError, LookupError) as error:
                logger.debug("a job of the outbox cannot be read: %s", error)
