"""A retry or abort of one job is noted before it is done, and afterwards as done: what a process that ends in between
leaves is named."""

import logging
from typing import Any
from urllib.parse import quote

import pytest
from saq import Job
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from saqueduct.errors import QueueUnavailable
from saqueduct.postgres.audit import AuditWriter
from saqueduct.postgres.models import AuditRow
from saqueduct.queue.queue import EngineQueue
from tests.console.conftest import Served
from tests.fixtures.poll import eventually_sync


def counts(served: Served, key: str) -> list[int]:
    return [each["count"] for each in served.client.get("/queue/audit", params={"target": key}).json()["entries"]]


@pytest.mark.parametrize("surface", ["console", "http", "saq"])
@pytest.mark.parametrize("action", ["abort", "retry"])
def test_an_action_on_a_job_is_noted_before_it_is_done(
    served: Served, monkeypatch: pytest.MonkeyPatch, surface: str, action: str
) -> None:
    key = served.enqueue("echo", delay=3600) if action == "abort" else served.ended("echo", mark="noted before")
    seen: list[list[int]] = []
    original = getattr(EngineQueue, f"{action}_by_hand")

    async def looked(queue: EngineQueue, job: Job, *rest: Any) -> Any:
        assert served.saqueduct.store is not None
        async with served.saqueduct.store.sessions() as session:
            rows = await session.scalars(select(AuditRow.count).where(AuditRow.targets == [key]))
            seen.append([count for count in rows if count is not None])
        return await original(queue, job, *rest)

    monkeypatch.setattr(EngineQueue, f"{action}_by_hand", looked)
    do(served, surface, action, key)
    assert seen == [[0]]
    assert counts(served, key) == [1]
    assert "planned" not in served.page("/audit", target=key)


@pytest.mark.parametrize("surface", ["console", "http", "saq"])
def test_an_abort_of_a_job_that_redis_forgets_at_once_is_noted(served: Served, surface: str) -> None:
    async def enqueue() -> str:
        echo = served.saqueduct.registry.get("echo").options(delay=3600, ttl=-1)
        return (await served.saqueduct.queues.enqueue(echo, {})).key

    key = served.run(enqueue())
    if surface == "console":
        # The page to which it leads waits for the record.
        assert served.submit("/job/abort", {"key": key, "queue": "default"}).status_code == 303
    else:
        do(served, surface, "abort", key)
    eventually_sync(lambda: counts(served, key) == [1])


def do(served: Served, surface: str, action: str, key: str) -> None:
    if surface == "console":
        served.note(f"/job/{action}", {"key": key, "queue": "default"})
    elif surface == "http":
        call = served.client.delete if action == "abort" else served.client.post
        assert call(f"/queue/jobs/{key}{'' if action == 'abort' else '/retry'}").status_code == 202
    else:
        answer = served.client.post(f"/saq/api/queues/default/jobs/{quote(key)}/{action}")
        assert answer.status_code in (200, 201, 202), answer.text


def test_an_action_whose_process_ends_in_between_stays_planned(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    key = served.enqueue("echo", delay=3600)

    async def killed(*_: object) -> None:
        raise RuntimeError("the process has ended")

    with monkeypatch.context() as patched:
        patched.setattr(AuditWriter, "settle", killed)
        assert served.client.delete(f"/queue/jobs/{key}").status_code == 500
    assert counts(served, key) == [0]
    assert "planned, not noted as done" in served.page("/audit", target=key)
    page = served.page("/job", key=key)
    assert "Abort planned" in page
    assert "not noted as done" in page


def test_an_action_without_an_answer_stays_planned_and_one_that_is_refused_is_not_noted(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = served.enqueue("echo", delay=3600)

    async def silent(*_: object) -> None:
        raise QueueUnavailable("Redis did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(EngineQueue, "abort_by_hand", silent)
        assert served.client.delete(f"/queue/jobs/{key}").status_code == 503
    assert counts(served, key) == [0]
    assert served.client.post(f"/queue/jobs/{key}/retry").status_code == 409
    assert served.client.delete("/queue/jobs/nobody-has-this").status_code == 404
    assert counts(served, key) == [0]
    assert counts(served, "nobody-has-this") == []


def test_an_action_is_done_and_logged_where_postgresql_does_not_take_its_entry(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = served.enqueue("echo", delay=3600)

    def away(*_: object) -> int:
        raise OSError("PostgreSQL is away")

    def logged() -> bool:
        return any(line.startswith("audit: ") and key in line for line in caplog.messages)

    with monkeypatch.context() as patched, caplog.at_level(logging.INFO, "saqueduct.audit"):
        # Of both ways to write an entry.
        patched.setattr("saqueduct.postgres.audit.columns", away)
        assert served.client.delete(f"/queue/jobs/{key}").status_code == 202
        eventually_sync(logged)
    assert counts(served, key) == []


def test_an_action_is_done_where_postgresql_is_slow_and_noted_when_it_answers(served: Served) -> None:
    key = served.enqueue("echo", delay=3600)

    async def lock() -> AsyncConnection:
        assert served.saqueduct.store is not None
        connection: AsyncConnection = await served.saqueduct.store.sessions.kw["bind"].connect()
        await connection.execute(text(f"LOCK TABLE {AuditRow.__tablename__} IN SHARE MODE"))
        return connection

    held = served.run(lock())
    try:
        assert served.client.delete(f"/queue/jobs/{key}").status_code == 202
        assert counts(served, key) == []
    finally:
        served.run(held.close())
    eventually_sync(lambda: counts(served, key) == [1])
