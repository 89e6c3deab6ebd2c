"""Job records: what the workers remember of jobs."""

from collections.abc import AsyncIterator
from copy import copy
from typing import Any

import httpx
import pytest
from dishka import AsyncContainer
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings
from saqueduct import Concurrency, Context, GiveUp, Queues, TaskRegistry, Throttled, Unique, task
from saqueduct.postgres.binary_copy import unpack
from saqueduct.postgres.records import Rows
from saqueduct.postgres.store import PostgresStore
from saqueduct.queue import core
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_log import JobLog
from saqueduct.tasks.job_meta import TAGS
from saqueduct.testing import JobKit
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, record_of
from tests.queue.kit import working


@pytest.fixture
async def worker(settings: Settings, queues: Queues, container: AsyncContainer) -> AsyncIterator[EngineWorker]:
    async with working(settings, queues, container, schedules=False) as worker:
        yield worker


async def test_a_complete_job_leaves_a_record(worker: EngineWorker, records: Look) -> None:
    @task(tags=("billing",))
    async def add(ctx: Context, *, a: int, b: int = 2) -> dict[str, int]:
        return {"sum": a + b}

    worker.functions["add"] = add.runner
    job = await add.enqueue(a=1)
    await job.result(timeout=60)
    record = await record_of(records, job.key, "complete")
    assert (record.task, record.queue, record.attempts, record.recoveries) == ("add", "default", 1, 0)
    assert (record.arguments, record.result, record.error, record.errors) == ({"a": 1}, {"sum": 3}, None, None)
    assert record.tags == ["billing"]
    assert record.queued_at <= record.started_at <= record.ended_at
    assert record.worker == worker.id


async def test_throttled_attempts_are_one_entry_of_the_record(worker: EngineWorker, records: Look) -> None:
    left = [True, True, False]

    @task(limits=(Concurrency(1, name="api"),))
    async def call(ctx: Context) -> str:
        if left.pop(0):
            raise Throttled("api", retry_after=0)
        return "done"

    worker.functions["call"] = call.runner
    job = await call.enqueue()
    await job.result(timeout=10)
    record = await record_of(records, job.key, "complete")
    assert (record.attempts, record.result, record.error) == (1, "done", None)
    [entry] = record.errors
    assert entry == {
        "attempt": 1,
        "error": "Throttled 2 times, by the limit 'api'",
        "worker": None,
        "started": None,
        "ended": None,
        "outcome": "throttled",
    }


async def test_each_attempt_that_fails_is_remembered_with_its_error(worker: EngineWorker, records: Look) -> None:
    @task(retries=3, retry_delay=0.01)
    async def third_time(ctx: Context) -> int:
        attempts: int = ctx["job"].attempts
        if attempts < 3:
            raise ValueError(f"attempt {attempts} fails")
        return attempts

    worker.functions["third_time"] = third_time.runner
    job = await third_time.enqueue()
    await job.result(timeout=60)
    record = await record_of(records, job.key, "complete")
    assert (record.attempts, record.result, record.error) == (3, 3, None)
    assert [each["attempt"] for each in record.errors] == [1, 2]
    assert ["attempt 1 fails" in record.errors[0]["error"], "attempt 2 fails" in record.errors[1]["error"]] == [
        True
    ] * 2
    assert all(0 < each["started"] <= each["ended"] and each["worker"] == worker.id for each in record.errors)


async def test_a_job_that_failed_for_good_is_remembered_with_its_traceback(worker: EngineWorker, records: Look) -> None:
    @task(retries=5)
    async def hopeless(ctx: Context) -> None:
        raise GiveUp("nothing to be done")

    worker.functions["hopeless"] = hopeless.runner
    job = await hopeless.enqueue()
    record = await record_of(records, job.key, "failed")
    assert record.error.startswith("Traceback")
    assert "nothing to be done" in record.error
    assert record.resolution is None


async def test_redacted_values_are_in_no_column(worker: EngineWorker, records: Look) -> None:
    @task(redact=("password",))
    async def log_in(ctx: Context, *, user: str, password: str) -> str:
        if user == "eve":
            raise ValueError(f"wrong password {password}")
        return f"logged in with {password}"

    worker.functions["log_in"] = log_in.runner
    good, bad = [await log_in.enqueue(user=user, password="swordfish") for user in ("ada", "eve")]
    found = [await record_of(records, good.key, "complete"), await record_of(records, bad.key, "failed")]
    assert [record.arguments["password"] for record in found] == ["[redacted]"] * 2
    assert "swordfish" not in repr(found)


async def test_a_task_says_which_of_its_jobs_leave_records(worker: EngineWorker, records: Look) -> None:
    async def body(ctx: Context, *, fail: bool = False) -> None:
        if fail:
            raise ValueError("as asked")

    quiet = task(name="quiet", record="none")(body)
    failing = task(name="failing", record="failures")(body)
    for each in (quiet, failing):
        worker.functions[each.name] = each.runner
    for each in (quiet, failing):
        await (await each.enqueue()).result(timeout=60)
        failed = await each.enqueue(fail=True)
        await eventually(failed.done)
    await record_of(records, failed.key, "failed")
    assert {(record.task, record.status) for record in await records()} == {("failing", "failed")}


async def test_a_policy_of_failures_tells_the_end_of_what_failed_first(worker: EngineWorker, records: Look) -> None:
    @task(retries=2, record="failures")
    async def second_time(ctx: Context) -> None:
        if ctx["job"].attempts < 2:
            raise ValueError("once")

    worker.functions["second_time"] = second_time.runner
    job = await second_time.enqueue()
    await job.result(timeout=60)
    record = await record_of(records, job.key, "complete")
    assert len(record.errors) == 1


async def test_waiting_jobs_that_are_aborted_or_give_way_leave_records(jobs: JobKit, records: Look) -> None:
    @task(unique=Unique(on_conflict="replace"))
    async def sync(ctx: Context, *, user: int) -> None: ...

    first = await sync.enqueue(user=1)
    second = await sync.enqueue(user=1)
    await second.abort("not wanted")
    assert (await record_of(records, first.key, "aborted")).error == f"replaced by {second.key}"
    assert (await record_of(records, second.key, "aborted")).error == "not wanted"


async def test_what_a_large_result_is_no_record_tells(
    worker: EngineWorker, store: PostgresStore, records: Look
) -> None:
    @task
    async def large(ctx: Context) -> str:
        return "x" * 20_000

    worker.functions["large"] = large.runner
    job = await large.enqueue()
    await job.result(timeout=60)
    assert (await record_of(records, job.key, "complete")).result is None


async def test_text_that_postgresql_cannot_hold_is_recorded_without_it(worker: EngineWorker, records: Look) -> None:
    @task
    async def nul(ctx: Context, *, text: str) -> str:
        raise ValueError(text)

    worker.functions["nul"] = nul.runner
    job = await nul.enqueue(text="a\x00b")
    record = await record_of(records, job.key, "failed")
    assert record.arguments == {"text": "a\ufffdb"}
    assert "a\\x00b" in record.error


async def test_a_job_retried_by_hand_is_one_record_with_its_newest_end(
    worker: EngineWorker, queues: Queues, records: Look
) -> None:
    runs: list[int] = []

    @task
    async def second_run(ctx: Context) -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("the first run fails")

    worker.functions["second_run"] = second_run.runner
    job = await second_run.enqueue()
    await record_of(records, job.key, "failed")
    await queues.retry(job.key)
    record = await record_of(records, job.key, "complete")
    assert (record.round, record.error, len(record.errors)) == (1, None, 1)
    assert len(await records()) == 1


async def test_a_record_that_is_written_twice_is_stored_once(
    worker: EngineWorker, engine: AsyncEngine, store: PostgresStore, records: Look, caplog: pytest.LogCaptureFixture
) -> None:
    @task
    async def twice(ctx: Context) -> int:
        return 1

    worker.functions["twice"] = twice.runner
    job = await twice.enqueue()
    await job.result(timeout=60)
    await record_of(records, job.key, "complete")
    found = await worker.queue.job(job.key)
    assert found is not None
    store.recorder.add([found])

    async def written() -> bool:
        return len(store.recorder) == 0

    await eventually(written)
    assert len(await records()) == 1
    assert "cannot be written" not in caplog.text


async def test_meta_of_a_callers_own_is_nothing_to_its_record(
    queues: Queues, store: PostgresStore, records: Look, jobs: JobKit
) -> None:
    @task
    async def own_meta(ctx: Context) -> None: ...

    job = await own_meta.options(meta={"parent": 5, "tags": [1], "recoveries": 3, "durable": True}).enqueue()
    await jobs.drain()
    record = await record_of(records, job.key, "complete")
    assert (record.parent, record.tags, record.recoveries) == (None, None, 0)


async def test_a_job_tells_who_enqueued_it_and_both_belong_to_the_trace_of_the_request(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answer = await client.post("/tasks/enqueue_follow_up", json={"user_id": 1}, headers=headers)
    await jobs.drain()
    parent = await record_of(records, answer.json()["job_id"], "complete")
    child = await record_of(records, f"{parent.key}:follow-up", "complete")
    assert (parent.parent, parent.trace_id) == (None, trace)
    assert (child.parent, child.trace_id) == (parent.key, trace)
    answer = await client.post("/tasks/ping", headers={"traceparent": "nonsense"})
    await jobs.drain()
    assert (await record_of(records, answer.json()["job_id"], "complete")).trace_id is None


@pytest.mark.timings(recovery_wait=0.0)
async def test_a_job_whose_workers_died_too_often_is_a_dead_letter(
    queues: Queues, store: PostgresStore, records: Look
) -> None:
    @task
    async def deadly(ctx: Context) -> None: ...

    queue = queues.get("default")
    job = await deadly.enqueue()
    for _ in range(core.MAX_RECOVERIES + 1):
        _, _, _, lease, *_ = await queue.scripts.run("lease", 1, "dying", 0.0)
        # As a job's last run.
        await queue.scripts.run("isolate", job.key, lease.decode())

        async def recovered() -> bool:
            return bool(await queue.recover())

        await eventually(recovered)
    record = await record_of(records, job.key, "failed")
    assert record.recoveries == core.MAX_RECOVERIES
    assert [each["error"] for each in record.errors[:-1]] == ["its worker died while it ran"] * 3
    assert {each["worker"] for each in record.errors[:-1]} == {"dying"}
    assert "died 4 times" in record.error


@pytest.mark.timings(recovery_wait=0.0)
async def test_a_policy_of_failures_tells_the_end_of_what_was_recovered_first(
    queues: Queues, jobs: JobKit, records: Look
) -> None:
    @task(record="failures")
    async def interrupted(ctx: Context) -> None: ...

    queue = queues.get("default")
    job = await interrupted.enqueue()
    await queue.scripts.run("lease", 1, "dying", 0.0)

    async def recovered() -> bool:
        return bool(await queue.recover())

    await eventually(recovered)
    await record_of(records, job.key, "queued")
    await jobs.drain()
    assert (await record_of(records, job.key, "complete")).recoveries == 1


@pytest.mark.parametrize(("limit", "kept"), [(3, None), (4, '"ü"'.encode())])
def test_a_result_is_measured_in_bytes(store: PostgresStore, queues: Queues, limit: int, kept: bytes | None) -> None:
    @task
    async def letter(ctx: Context) -> str:
        return "ü"

    job = letter.job({})
    job.queue, job.queued, job.status, job.result = queues.get("default"), 1, Status.COMPLETE, "ü"
    row = Rows(store.recorder.rows.tasks, max_result=limit).of(job)
    assert row is not None
    assert row.result == kept


def plain_success(queues: Queues, tasks: TaskRegistry, value: Any = 7, **options: Any) -> EngineJob:
    """A job that has completed, of a task with these options."""

    @tasks.task(**options)
    async def work(ctx: Context, *, value: Any, secret: str = "") -> Any: ...

    job = work.job({"value": value})
    job.key, job.queue, job.queued, job.attempts, job.worker_id = "one", queues.get("default"), 1, 1, "worker"
    job.started, job.completed, job.status, job.result = 2, 3, Status.COMPLETE, value
    return job


@pytest.mark.parametrize("value", [7, "a", "ü", True, 1.5, {"a": [1, "b"]}, [], "x" * 100_000, None])
def test_the_packed_record_of_a_plain_success_is_that_of_a_closer_look(queues: Queues, value: Any) -> None:
    rows = Rows(tasks := TaskRegistry())
    job = plain_success(queues, tasks, value)
    [packed] = rows.packed([job])
    assert packed is not None
    assert unpack(packed) == rows.of(job)


@pytest.mark.parametrize("value", ["a\0b", 1e20, -0.0, {"b": 1, "a": 2}, {"a": "\0"}, [1e16]], ids=repr)
def test_arguments_that_differ_in_jsonb_need_a_closer_look(queues: Queues, value: Any) -> None:
    rows = Rows(tasks := TaskRegistry())
    job = plain_success(queues, tasks, value)
    assert rows.packed([job]) == [None]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.FAILED},
        {"status": Status.QUEUED},
        {"attempts": 2},
        {"meta": {TAGS: ["billing"]}},
        {"error": "failed"},
        {"recorded": True},
        {"function": "unknown"},
        {"worker_id": "another"},
    ],
    ids=str,
)
def test_a_job_that_is_no_plain_success_needs_a_closer_look(queues: Queues, changes: dict[str, Any]) -> None:
    rows = Rows(tasks := TaskRegistry())
    job = plain_success(queues, tasks)
    other = copy(job)
    for name, value in changes.items():
        setattr(other, name, value)
    first, second, third = rows.packed([job, other, job])
    assert (first is not None, second) == (True, None)
    assert third == first


def test_a_plain_success_that_has_logged_needs_a_closer_look(queues: Queues) -> None:
    rows = Rows(tasks := TaskRegistry())
    job = plain_success(queues, tasks)
    job.logs = JobLog()
    assert rows.packed([job]) == [None]


@pytest.mark.parametrize("options", [{"redact": ("secret",)}, {"record": "none"}, {"record": "failures"}], ids=str)
def test_what_its_task_says_of_records_holds_for_a_plain_success(queues: Queues, options: dict[str, Any]) -> None:
    rows = Rows(tasks := TaskRegistry())
    job = plain_success(queues, tasks, **options)
    assert rows.packed([job]) == [None]
    off = Rows(tasks := TaskRegistry(), enabled=False)
    job = plain_success(queues, tasks)
    assert off.packed([job]) == [None]


async def test_a_job_that_cannot_be_recorded_keeps_no_other_from_it(
    queues: Queues, store: PostgresStore, records: Look, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt, good = (plain_success(queues, TaskRegistry()) for _ in range(2))
    spoilt.result, good.key = object(), "good"
    store.recorder.add([spoilt, good])
    await record_of(records, "good", "complete")
    assert "could not record the outcome of the job one" in caplog.text
