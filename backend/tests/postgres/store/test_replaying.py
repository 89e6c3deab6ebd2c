"""Replaying many dead letters."""

import datetime as dt
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import Context, Queues, Unique, get_registry, task
from saqueduct.errors import InvalidSearch
from saqueduct.postgres.built_in_tasks import replay_all
from saqueduct.postgres.dead_letters import DeadLetters, Resolved
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.record_filter import DeadLetterFilter, RecordFilter
from saqueduct.postgres.rows import as_jsonb
from saqueduct.queue.audit import AuditEntry
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, record_of


def dead(key: str, queued_at: dt.datetime) -> JobRecord:
    return JobRecord(
        key=key, queued_at=queued_at, queue="default", task="my_task", status="failed", attempts=1,
        arguments={"user_id": 1},
    )  # fmt: skip


async def test_what_fails_again_meanwhile_is_not_replayed_in_the_same_run(
    session: AsyncSession, queues: Queues
) -> None:
    long_ago = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    session.add_all([dead(f"{number}", long_ago + dt.timedelta(seconds=number)) for number in range(3)])
    await session.commit()
    letters, so_far = DeadLetters(session, queues, get_registry(), batch_size=1), Resolved()
    rounds = 0
    while await letters.replay_some(DeadLetterFilter(all=True), so_far, by="ada"):
        rounds += 1
        session.add(dead(f"again-{rounds}", dt.datetime.now(dt.UTC)))
        await session.commit()
        assert rounds <= 3
    assert (so_far.done, so_far.refused) == (3, {})
    assert await letters.count(RecordFilter()) == 3


class Progress:
    """A job as `replay_all` uses it."""

    key = "the-job"

    def __init__(self, attempts: int, queued: dt.datetime) -> None:
        self.attempts, self.queued = attempts, round(queued.timestamp() * 1000)

    async def update(self, *, progress: float) -> None: ...


async def test_another_attempt_of_the_job_counts_on_and_leaves_out_what_failed_again(
    session: AsyncSession, queues: Queues
) -> None:
    now = dt.datetime.now(dt.UTC)
    session.add_all([dead(f"{number}", now - dt.timedelta(hours=1)) for number in range(2)])
    letters = DeadLetters(session, queues, get_registry())
    entry = AuditEntry(
        person="ada", action="replay", kind="dead letter", targets=["the-job"], count=None, surface="http"
    )
    await letters.audit.add(entry)
    replayed = []
    for attempt in (1, 2):
        job: Any = Progress(attempt, now)
        how: dict[str, Any] = {"by": "ada", "why": "", "arguments": None, "queue": None, "rate": 1000.0}
        replayed.append(await replay_all(letters, session, job, DeadLetterFilter(all=True), **how))
        session.add(dead(f"again-{attempt}", now + dt.timedelta(milliseconds=attempt)))
        await session.commit()
    assert replayed == [{"replayed": 2, "refused": {}}] * 2
    assert await letters.count(RecordFilter()) == 2


@pytest.mark.parametrize("on_conflict", ["ignore", "raise"])
async def test_a_dead_letter_whose_replay_gives_way_to_a_job_that_exists_waits_again(
    session: AsyncSession, queues: Queues, jobs: JobKit, outbox: Look, records: Look, on_conflict: Any
) -> None:
    @task(unique=Unique(period=3600, states=("queued", "active", "failed"), on_conflict=on_conflict))
    async def bill(ctx: Context, *, customer: int) -> None:
        raise ValueError("no money")

    job = await bill.enqueue(customer=1)
    await jobs.drain()
    await record_of(records, job.key, "failed")
    letters = DeadLetters(session, queues, get_registry())
    await letters.replay(job.key, by="ada")
    await session.commit()

    async def published() -> bool:
        return not await outbox()

    await eventually(published)
    assert jobs.all_enqueued(bill) == []
    assert await letters.count(RecordFilter()) == 1
    [record] = await records()
    assert (record.resolution, record.resolved_by, record.replayed_as) == (None, None, None)


VALUES: dict[str, Any] = {
    "NUL": "PK\x00\x03",
    "the six characters": "\\u0000",
    "a backslash and NUL": "\\\x00\x00",
    "NUL in a name": {"a\x00b": 1},
    "a large float": 1e22,
    "floats within": [[1e15, 1e16, -1e300, 0.1, 1e-7, 5e-324]],
    "a large integer": 2**70,
    "an integer and a float": [1, 1.0, 2**53 + 1],
    "no negative zero": [-0.0, 0.0],
    "names in order": {"zeta": 1, "a": {"later": 1, "b": 2}},
    "half a pair escaped": "\\udce9",
    "nothing": None,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_a_replay_has_the_arguments_exactly_as_they_were(
    session: AsyncSession, queues: Queues, jobs: JobKit, records: Look, value: Any
) -> None:
    seen: list[str] = []

    @task(record="all")
    async def bill(ctx: Context, *, value: Any, more: str = "") -> None:
        seen.append(repr(value))
        raise ValueError("no money")

    job = await bill.enqueue(value=value)
    await jobs.drain()
    await record_of(records, job.key, "failed")
    again = await DeadLetters(session, queues, get_registry()).replay(job.key, by="ada", arguments={"more": "!"})
    await session.commit()
    await eventually(lambda: any(each.key == again for each in jobs.all_enqueued()) or len(seen) == 2)
    await jobs.drain()
    assert seen == [repr(value)] * 2


async def test_arguments_by_any_name_keep_their_order(
    session: AsyncSession, queues: Queues, jobs: JobKit, records: Look
) -> None:
    seen: list[list[str]] = []

    @task
    async def bill(ctx: Context, /, **lines: int) -> None:
        seen.append(list(lines))
        raise ValueError("no money")

    job = await bill.enqueue(zeta=1, a=2, later=3)
    await jobs.drain()
    record = await record_of(records, job.key, "failed")
    assert list(record.arguments) == ["a", "zeta", "later"]
    await DeadLetters(session, queues, get_registry()).replay(job.key, by="ada")
    await session.commit()
    await eventually(lambda: len(jobs.all_enqueued(bill)) == 1)
    await jobs.drain()
    assert seen == [["zeta", "a", "later"]] * 2


async def test_most_records_hold_their_arguments_once_and_none_holds_a_secret(jobs: JobKit, records: Look) -> None:
    @task(redact=("password",))
    async def plain(
        ctx: Context, *, to: str, subject: str, number: int = 1, password: str = "", file: str = ""
    ) -> None:
        raise ValueError("no")

    usual = await plain.enqueue(to="ada@example.com", subject="Hi", number=2**60, password="hunter22")
    other = await plain.enqueue(to="ada@example.com", subject="Hi", file="PK\x00", password="hunter\x0022")
    await jobs.drain()
    assert (await record_of(records, usual.key, "failed")).payload is None
    record = await record_of(records, other.key, "failed")
    assert "[redacted]" in record.payload
    assert "hunter" not in record.payload
    # What is shown and searched is JSONB.
    assert record.arguments["file"] == "PK\ufffd"


@pytest.mark.parametrize("result", [value for value in VALUES.values() if value is not None])
async def test_a_result_is_recorded_exactly(jobs: JobKit, records: Look, result: Any) -> None:
    @task
    async def returns(ctx: Context) -> Any:
        return result

    job = await returns.enqueue()
    await jobs.drain()
    assert repr((await record_of(records, job.key, "complete")).result) == repr(result)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("\x00", '"\\ufffd"'),
        ("\x00\x00", '"\\ufffd\\ufffd"'),
        ("\\u0000", '"\\\\u0000"'),
        ("\\\x00", '"\\\\\\ufffd"'),
        ("\\\\u0000\x00", '"\\\\\\\\u0000\\ufffd"'),
    ],
)
def test_only_nul_itself_is_replaced_for_a_search(value: str, written: str) -> None:
    assert as_jsonb(value) == written.encode()


@pytest.mark.parametrize(
    "fields", [{}, {"arguments": {}}, {"error": ""}, {"status": "failed"}, {"all": True, "task": "my_task"}]
)
def test_a_filter_that_leaves_none_out_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSearch, match="say which dead letters"):
        DeadLetterFilter(**fields)
