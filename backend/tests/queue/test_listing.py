"""Listing of the jobs that wait or run."""

import asyncio
import json
from typing import Any

import pytest

from app.queue.tasks import my_task
from saqueduct import Context, Queues, task
from saqueduct.errors import InvalidCursor
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.queue.listing import JobListing, LiveState
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job import EngineJob


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


async def keys(queue: EngineQueue, status: LiveState, which: RecordFilter | None = None) -> list[str]:
    matches = which.matches if which else lambda _: True
    return [job.key for job in (await JobListing([queue], status).page(matches, None, 100)).jobs]


async def test_jobs_in_line_are_listed_level_by_level_and_delayed_ones_by_their_time(queue: EngineQueue) -> None:
    for key, options in {"b": {}, "low": {"priority": "low"}, "a": {}, "high": {"priority": "high"}}.items():
        await my_task.options(key=key, **options).enqueue(user_id=1)  # type: ignore[arg-type]
    for key, delay in {"late": 900, "soon": 60}.items():
        await my_task.options(key=key, delay=delay).enqueue(user_id=1)
    assert await keys(queue, "queued") == ["high", "b", "a", "low"]
    assert await keys(queue, "delayed") == ["soon", "late"]
    assert await keys(queue, "waiting") == ["high", "b", "a", "low", "soon", "late"]


async def test_a_job_aborted_in_a_long_line_is_not_listed(queue: EngineQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, stays = [await my_task.options(key=key).enqueue(user_id=1) for key in ("gone", "stays")]
    await gone.abort()
    # As in a list of more than SHORT entries, where it is left.
    await queue.redis.lpush(queue.namespace("queued"), queue.job_id(gone.key))
    assert await keys(queue, "queued") == [stays.key]


async def test_leased_jobs_are_listed_as_active_and_no_longer_as_queued(queue: EngineQueue) -> None:
    for key in ("one", "two"):
        await my_task.options(key=key).enqueue(user_id=1)
    await queue.scripts.run("lease", 1, "worker", 30.0)
    assert (await keys(queue, "active"), await keys(queue, "queued")) == (["one"], ["two"])
    job = await queue.fetch("one")
    assert job is not None
    await job.abort("enough")
    assert (await keys(queue, "active"), await keys(queue, "aborting")) == ([], ["one"])


async def test_pages_meet_without_gap_or_overlap(queue: EngineQueue) -> None:
    queue.reader.at_once = 3
    for number in range(8):
        await my_task.options(key=f"{number}", priority="high" if number < 4 else "normal").enqueue(user_id=number)
    seen: list[str] = []
    cursor = None
    while True:
        page = await JobListing([queue], "waiting").page(lambda job: job.key != "5", cursor, 2)
        seen += [job.key for job in page.jobs]
        if (cursor := page.cursor) is None:
            break
    assert seen == ["0", "1", "2", "3", "4", "6", "7"]


TEXTS = ("Bonn", "bonn", "x y", "ada@example", "4711", "1e", "redacted", 'a"b', "ü", "5.5", ":1")

VALUES: list[dict[str, Any]] = [
    {"user_id": 4711}, {"user_id": 4711.0}, {"city": "Bonn"}, {"n": 10**22}, {"ok": True}, {"n": -1}, {"n": None},
    {"user": {"id": 1}}, {"password": "[redacted]"}, {"password": "swordfish"}, {"a b": 1},
]  # fmt: skip

OTHERS: list[dict[str, Any]] = [
    {"tag": "vip"}, {"tag": "ü"}, {"task": "enter"}, {"task": "other"}, {"trace": "a" * 32}, {"error": "no route"},
]  # fmt: skip

FILTERS = [*({"text": text} for text in TEXTS), *({"arguments": value} for value in VALUES), *OTHERS]

ARGUMENTS: list[dict[str, Any]] = [
    {"user_id": 4711, "city": "Bonn"}, {"user_id": 4711.0, "n": 1e22}, {"n": 10**22, "text": "x y"},
    {"n": -1, "ok": True}, {"user": {"id": 1, "mail": "ada@example.com"}, "a b": 1}, {"n": None, "text": 'a"b: ü'},
    {"ok": 1, "list": [1, 5.5, 1e5]},
]  # fmt: skip


@pytest.mark.parametrize("fields", FILTERS, ids=str)
async def test_jobs_that_are_not_decoded_match_no_filter(queue: EngineQueue, fields: dict[str, Any]) -> None:
    @task(redact=("password",), tags=("vip",))
    async def enter(ctx: Context, /, *, password: str = "", **anything: Any) -> None: ...

    for number, arguments in enumerate(ARGUMENTS):
        await enter.options(key=f"ours {number}").enqueue(password="swordfish", **arguments)
        for escaped in (False, True):
            # As other producers may write it.
            job = EngineJob(function="enter", key=f"theirs {number} {escaped}", kwargs=arguments, error="no route to ü")
            job.meta = {"tags": ["vip", "ü"], "trace_id": "a" * 32}
            await queue.enqueue(job)
            stored = json.dumps(json.loads(queue.serialize(job)), ensure_ascii=escaped)
            await queue.redis.set(queue.job_id(job.key), stored)
    which = RecordFilter(**fields)
    all_decoded = (await JobListing([queue], "waiting").page(which.matches, None, 100)).jobs
    some_decoded = (await JobListing([queue], "waiting").page(which.matches, None, 100, which.words)).jobs
    assert [job.key for job in some_decoded] == [job.key for job in all_decoded]


async def test_a_page_decodes_only_jobs_with_its_words(queue: EngineQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        await my_task.options(key=f"{number}").enqueue(user_id=10**14 + number)
    looked_at: list[str] = []

    def look(job: EngineJob) -> bool:
        looked_at.append(job.key)
        return True

    await JobListing([queue], "waiting").page(look, None, 100, RecordFilter(arguments={"user_id": 10**14 + 17}).words)
    assert looked_at == ["17"]


async def test_a_page_looks_at_so_many_entries_and_then_goes_on(queue: EngineQueue) -> None:
    queue.reader.at_once = 2
    listing = JobListing([queue], "queued", look_at=4)
    await asyncio.gather(*(my_task.options(key=f"{number}").enqueue(user_id=number) for number in range(6)))
    page = await listing.page(lambda job: job.key == "5", None, 10)
    assert page.jobs == []
    page = await listing.page(lambda job: job.key == "5", page.cursor, 10)
    assert [job.key for job in page.jobs] == ["5"]


@pytest.mark.parametrize("cursor", ["", "!", "WzksMCwwXQ", "WzAsOSwwXQ", "WzAsMCwtMV0", "e30"])
async def test_a_cursor_of_something_else_is_refused(queue: EngineQueue, cursor: str) -> None:
    if cursor == "":
        assert (await JobListing([queue], "queued").page(lambda _: True, cursor, 1)).jobs == []
        return
    with pytest.raises(InvalidCursor):
        await JobListing([queue], "queued").page(lambda _: True, cursor, 1)


async def test_a_filter_finds_what_is_shown_of_live_jobs(queue: EngineQueue, own_tasks: None) -> None:
    @task(redact=("password",))
    async def log_in(ctx: Context, *, user: dict[str, int], password: str, tries: int = 1) -> None: ...

    job = await log_in.options(key="job", tags=("vip",)).enqueue(user={"id": 1, "age": 40}, password="swordfish")
    found = [job.key]
    assert await keys(queue, "queued", RecordFilter(arguments={"user": {"id": 1}})) == found
    assert await keys(queue, "queued", RecordFilter(arguments={"user": {"id": True}})) == []
    assert await keys(queue, "queued", RecordFilter(arguments={"tries": 1})) == []
    assert await keys(queue, "queued", RecordFilter(arguments={"password": "swordfish"})) == []
    assert await keys(queue, "queued", RecordFilter(tag="vip", task="log_in")) == found
    assert await keys(queue, "queued", RecordFilter(tag="other")) == []


async def test_an_entry_that_wakes_workers_is_no_job(queue: EngineQueue) -> None:
    await my_task.options(key="high", priority="high").enqueue(user_id=1)
    assert await queue.redis.lrange(queue.namespace("queued"), 0, -1) == [b"wake"]
    await queue.redis.set("wake", "what somebody else keeps here")
    assert await keys(queue, "queued") == ["high"]


async def test_a_job_that_is_queued_twice_is_listed_once(queue: EngineQueue) -> None:
    job = await my_task.options(key="job").enqueue(user_id=1)
    # As where it was aborted in a long line, and enqueued again.
    await queue.redis.lpush(queue.namespace("queued"), queue.job_id(job.key))
    page = await JobListing([queue], "queued").page(lambda _: True, None, 1)
    assert ([each.key for each in page.jobs], page.cursor) == (["job"], None)
