"""The audit: who did what, over HTTP, in SAQ's UI and on the command line."""

import asyncio
import datetime as dt
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner
from sqlalchemy import text

from saqueduct.cli import options
from saqueduct.cli.groups import main
from saqueduct.postgres.audit import AuditLog
from saqueduct.postgres.audit_filter import AuditFilter
from saqueduct.postgres.models import JobRecord
from saqueduct.queue.audit import Audit, AuditEntry
from tests.fixtures.poll import eventually
from tests.litestar.access_kit import Served, basic, served_with_tables, store_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

OMAR = basic("omar")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(redis_url: str, migrated_url: str) -> AsyncIterator[Served]:
    async with served_with_tables(redis_url, "audit", migrated_url) as shop:
        yield shop


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def empty(shop: Served) -> None:
    async with store_of(shop).sessions.begin() as session:
        for table in ("job_audit", "job_audit_batches", "job_records", "outbox"):
            await session.execute(text(f"DELETE FROM {table}"))  # noqa: S608


async def entries(shop: Served, **query: Any) -> list[dict[str, Any]]:
    answer = await shop.call("GET", "/queue/audit", basic("ada"), params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


async def done(shop: Served, method: str, path: str, **more: Any) -> Any:
    answer = await shop.call(method, path, OMAR, **more)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def dead_letter(shop: Served, key: str) -> None:
    now = dt.datetime.now(dt.UTC)
    record = {"queue": "audit", "task": "add", "status": "failed", "attempts": 1, "error": "it broke"}
    async with store_of(shop).sessions.begin() as session:
        session.add(JobRecord(key=key, queued_at=now, ended_at=now, arguments={"a": 1, "b": 2}, **record))


async def test_each_action_over_http_is_one_entry(shop: Served) -> None:
    await done(shop, "POST", "/queue/queues/audit/pause", json={"why": "deploy", "by": "mallory"})
    job = await done(shop, "POST", "/queue/tasks/add", json={"a": 1, "b": 2})
    many = await done(shop, "POST", "/queue/tasks/add/batch", json=[{"a": 1, "b": 2}, {"a": 1, "b": 3}])
    await done(shop, "DELETE", f"/queue/jobs/{job['key']}")
    await done(shop, "POST", f"/queue/jobs/{job['key']}/retry")
    await done(shop, "POST", f"/saq/api/queues/audit/jobs/{job['key']}/abort")
    await done(shop, "POST", "/queue/queues/audit/resume")
    await done(shop, "POST", "/queue/queues/audit/resume")
    await done(shop, "POST", "/queue/schedules/tidy/pause", json={"why": "noise"})
    await done(shop, "POST", "/queue/schedules/tidy/resume")
    tick = await done(shop, "POST", "/queue/schedules/tidy/trigger")
    await store_of(shop).audit.flush(20)
    found = await entries(shop)
    assert {(each["person"], each["role"], each["surface"], each["address"]) for each in found} == {
        ("omar", "operator", "http", "203.0.113.9")
    }
    done_to = [(each["action"], each["kind"], each["targets"], each["count"], each["why"]) for each in found]
    one = [job["key"]]
    assert sorted(done_to) == sorted(
        [
            ("pause", "queue", ["audit"], 1, "deploy"),
            ("enqueue", "job", one, 1, ""),
            ("enqueue", "job", [each["key"] for each in many["jobs"]], 2, ""),
            ("abort", "job", one, 1, ""),
            ("retry", "job", one, 1, ""),
            ("abort", "job", one, 1, ""),
            ("resume", "queue", ["audit"], 1, ""),
            ("pause", "schedule", ["tidy"], 1, "noise"),
            ("resume", "schedule", ["tidy"], 1, ""),
            ("trigger", "schedule", ["tidy", tick["key"]], 1, ""),
        ]
    )
    assert [each["task"] for each in found if each["action"] == "retry"] == ["add"]


async def test_an_action_that_is_refused_leaves_no_entry(shop: Served) -> None:
    assert (await shop.call("POST", "/queue/jobs/nope/retry", OMAR)).status_code == 404
    assert (await shop.call("POST", "/queue/queues/audit/pause", basic("vera"))).status_code == 403
    assert (await shop.call("POST", "/queue/dead-letters/nope/replay", OMAR)).status_code == 404
    assert await entries(shop) == []


async def test_dead_letters_and_their_entries_commit_together(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("one", "two", "three"):
        await dead_letter(shop, key)
    await done(shop, "POST", "/queue/dead-letters/one/replay", json={"why": "fixed"})
    await done(shop, "DELETE", "/queue/dead-letters/two")

    async def fail(*_: object) -> int:
        raise RuntimeError("no audit")

    monkeypatch.setattr(AuditLog, "add", fail)
    assert (await shop.call("DELETE", "/queue/dead-letters/three", OMAR)).status_code == 500
    monkeypatch.undo()
    left = (await shop.call("GET", "/queue/dead-letters", OMAR)).json()["jobs"]
    assert [each["key"] for each in left] == ["three"]
    found = [(each["action"], each["targets"], each["why"]) for each in await entries(shop)]
    assert found == [("discard", ["two"], ""), ("replay", ["one"], "fixed")]


async def test_a_replay_of_many_names_its_filter_and_its_job_counts(shop: Served) -> None:
    for number in range(3):
        await dead_letter(shop, f"many-{number}")
    body = {"which": {"task": "add"}, "why": "fixed", "rate": 1000}
    job = await done(shop, "POST", "/queue/dead-letters/replay", json=body)
    [entry] = await entries(shop)
    assert (entry["targets"], entry["count"], entry["filter"]) == ([job["job_id"]], None, {"task": "add"})
    async with shop.plugin.saqueduct.working():
        await eventually(lambda: _counted(shop, 3))


async def _counted(shop: Served, count: int) -> bool:
    return [each["count"] for each in await entries(shop, action="replay")] == [count]


async def test_entries_are_filtered_and_paged_for_the_admin_alone(shop: Served) -> None:
    assert (await shop.call("GET", "/queue/audit", OMAR)).status_code == 403
    for number in range(5):
        await shop.plugin.saqueduct.queues.audit.note(entry_of(f"job-{number}"))
    first = await shop.call("GET", "/queue/audit?limit=3", basic("ada"))
    rest = await shop.call("GET", f"/queue/audit?limit=3&cursor={first.json()['cursor']}", basic("ada"))
    targets = [each["targets"][0] for answer in (first, rest) for each in answer.json()["entries"]]
    assert targets == [f"job-{number}" for number in reversed(range(5))]
    assert rest.json()["cursor"] is None
    assert [each["targets"] for each in await entries(shop, target="job-3")] == [["job-3"]]
    assert await entries(shop, person="nobody") == []
    assert len(await entries(shop, surface="console", action="retry", since="1h")) == 5
    assert await entries(shop, until="1h") == []
    for query in ("cursor=x", "since=never", "cursor=LTE", "zzz=1"):
        assert (await shop.call("GET", f"/queue/audit?{query}", basic("ada"))).status_code == 400, query


def entry_of(target: str, **more: Any) -> AuditEntry:
    fields = {"person": "ada", "action": "retry", "kind": "job", "targets": [target], "surface": "console"}
    return AuditEntry(**{**fields, **more})


async def test_what_postgresql_cannot_keep_is_cleaned(shop: Served) -> None:
    audit = shop.plugin.saqueduct.queues.audit
    await audit.note(entry_of("a\0b", why="\0", filter={"arguments": {"a": "x\0y"}}))
    await audit.note(entry_of("many", count=500))
    await audit.note(AuditEntry(person="x", action="retry", kind="job", targets=["t"] * 500, count=500, surface="cli"))
    assert sorted(len(each["targets"]) for each in await entries(shop)) == [1, 1, 100]


async def test_an_entry_of_many_is_found_by_each_of_them(shop: Served) -> None:
    audit, store = shop.plugin.saqueduct.queues.audit, store_of(shop)
    many = [f"key-{number}" for number in range(1234)] + ["a\0b"]
    await asyncio.gather(audit.note(entry_of("one")), audit.note(entry_of("x", targets=many, count=len(many))))
    for target in ("key-0", "key-99", "key-100", "key-1233", "a\\x00b"):
        [entry] = await entries(shop, target=target)
        assert (len(entry["targets"]), entry["count"]) == (100, 1235), target
    assert await entries(shop, target="key-1234") == []
    async with store.sessions.begin() as session:
        most = await session.scalar(text("SELECT max(cardinality(targets)) FROM job_audit_batches"))
        assert most == 500
        left = text("SELECT count(*) FROM job_audit_batches")
        await session.execute(text("UPDATE job_audit_batches SET at = now() - interval '91 days'"))
        assert await AuditLog(session).prune(365, session.flush, 90) == 0
        assert await session.scalar(left) == 3
        await session.execute(text("UPDATE job_audit_batches SET enqueued = true WHERE cardinality(targets) = 500"))
        assert await AuditLog(session).prune(365, session.flush, 90) == 0
        assert await session.scalar(left) == 1
        await session.execute(text("UPDATE job_audit_batches SET at = now() - interval '366 days'"))
        assert await AuditLog(session).prune(365, session.flush, 90) == 0
        assert await session.scalar(left) == 0


async def test_old_entries_are_pruned(shop: Served) -> None:
    audit, store = shop.plugin.saqueduct.queues.audit, store_of(shop)
    for target in ("old", "new"):
        await audit.note(entry_of(target))
    async with store.sessions() as session:
        await session.execute(text("UPDATE job_audit SET at = now() - interval '366 days' WHERE targets = '{old}'"))
        assert await AuditLog(session).prune(365, session.commit) == 1
        rows = (await AuditLog(session).page(AuditFilter())).rows
    assert [row.targets for row in rows] == [["new"]]


async def test_without_postgresql_an_entry_is_a_line_in_the_log(
    shop: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("saqueduct.audit"), "handlers", [caplog.handler])
    caplog.set_level(logging.INFO, "saqueduct.audit")
    await Audit(None).note(entry_of("a\nforged"))
    async with store_of(shop).sessions.begin() as session:
        await session.execute(text("ALTER TABLE job_audit RENAME TO audit_away"))
    try:
        await done(shop, "POST", "/queue/queues/audit/pause")
    finally:
        async with store_of(shop).sessions.begin() as session:
            await session.execute(text("ALTER TABLE audit_away RENAME TO job_audit"))
    await done(shop, "POST", "/queue/queues/audit/resume")
    lines = [each.getMessage() for each in caplog.records if each.name == "saqueduct.audit"]
    lines = list(dict.fromkeys(line for line in lines if line.startswith("audit: ")))
    assert [json.loads(line.removeprefix("audit: "))["targets"] for line in lines] == [["a\nforged"], ["audit"]]
    assert "\n" not in lines[0]


async def test_the_command_line_notes_user_and_host_and_lists(shop: Served, redis_url: str, migrated_url: str) -> None:
    for key in ("cli-1", "cli-2"):
        await dead_letter(shop, key)

    async def run(*arguments: str) -> str:
        command = ["--app", "tests.litestar.audit_app:saqueduct", *arguments]
        environment = {"REDIS_URL": redis_url, "DATABASE_URL": migrated_url}
        result = await asyncio.to_thread(CliRunner().invoke, main, command, env=environment)
        assert result.exit_code == 0, result.output
        return result.stdout

    await run("queues", "pause", "audit", "--why", "deploy", "--by", "ada")
    await run("queues", "resume", "audit")
    await run("dead", "discard", "--task", "add", "--yes", "--why", "old")
    found = json.loads(await run("audit", "list", "--json"))["entries"]
    assert [(each["action"], each["count"], each["filter"], each["why"]) for each in found] == [
        ("discard", 2, {"task": "add"}, "old"),
        ("resume", 1, None, ""),
        ("pause", 1, None, "deploy"),
    ]
    assert {(each["person"], each["role"], each["surface"]) for each in found} == {(options.user(), None, "cli")}
    assert all(each["address"] for each in found)
    listed = await run("audit", "list", "--action", "pause")
    assert "deploy" in listed
    assert "discard" not in listed
