"""Workers in this process, on real Redis and PostgreSQL."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dishka import AsyncContainer
from msgspec import structs
from redis.asyncio import Redis
from saq.job import Status
from saq.queue.redis import RedisQueue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.queue.config import check_task_modules_are_imported
from app.settings import Settings, load_settings
from saqueduct import ConfigurationError, Context, EngineQueue, GiveUp, Queues, QueueUnavailable, get_registry, task
from saqueduct.application import check_queue_names
from saqueduct.tasks.job_meta import EXPIRES_AT, RECOVERIES, ROUND
from saqueduct.tasks.log_context import add_job
from saqueduct.testing import JobKit
from saqueduct.timings import Timings
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.clients import patient
from tests.fixtures.composition import build_queues, build_workers
from tests.fixtures.poll import eventually
from tests.queue.kit import silent_redis, status, working

pytestmark = pytest.mark.usefixtures("own_tasks")


async def test_a_task_enqueues_another_through_its_context(jobs: JobKit, queues: Queues) -> None:
    job = await jobs.run("enqueue_follow_up", user_id=9)
    assert job.result["status"] == "enqueued"
    follow_up = await queues.find(job.result["job_id"])
    assert (follow_up.function, follow_up.kwargs) == ("my_task", {"user_id": 9})


async def test_by_name_arguments_named_like_job_fields_are_arguments(jobs: JobKit, queues: Queues) -> None:
    @task
    async def fields(ctx: Context, *, key: str, timeout: int) -> list[Any]:
        return [key, timeout]

    job = await queues.get("default").enqueue("fields", key="k", timeout=77, ttl=5)
    assert job is not None
    assert (job.kwargs, job.timeout, job.ttl) == ({"key": "k", "timeout": 77}, 10, 5)
    assert job.key != "k"


async def test_what_the_function_does_not_declare_is_a_job_option(queues: Queues) -> None:
    queue = queues.get("default")
    first = await queue.enqueue("my_task", user_id=1, key="one", timeout=3)
    assert first is not None
    assert (first.key, first.timeout, first.kwargs) == ("one", 3, {"user_id": 1})
    assert await queue.enqueue("my_task", user_id=1, key="one") is None


async def test_enqueue_in_a_queue_answers_with_the_job_that_stands(queues: Queues) -> None:
    first = await queues.enqueue("my_task", {"user_id": 1}, key="one")
    again = await queues.enqueue("my_task", {"user_id": 2}, key="one")
    assert again.key == first.key
    assert again.kwargs == {"user_id": 1}


async def test_a_plain_function_runs_in_a_thread(jobs: JobKit) -> None:
    @task
    def where(ctx: Context) -> str:
        return threading.current_thread().name

    assert (await jobs.run("where")).result != threading.current_thread().name


async def test_the_injected_session_commits_when_the_job_succeeds(jobs: JobKit, engine: AsyncEngine) -> None:
    @task
    async def write(ctx: Context, *, fail: bool, db_session: AsyncSession) -> None:
        await db_session.execute(text("INSERT INTO probe VALUES (1)"))
        if fail:
            raise ValueError("after the insert")

    @task
    async def unstorable(ctx: Context, *, db_session: AsyncSession) -> Any:
        await db_session.execute(text("INSERT INTO probe VALUES (2)"))
        return object()

    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS probe (n integer)"))
        await connection.execute(text("TRUNCATE probe"))
    try:
        assert (await jobs.run("write", fail=True)).status is Status.FAILED
        assert await _rows(engine) == []
        assert (await jobs.run("unstorable")).status is Status.FAILED
        assert await _rows(engine) == []
        assert (await jobs.run("write", fail=False)).status is Status.COMPLETE
        assert await _rows(engine) == [1]
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP TABLE probe"))


async def _rows(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT n FROM probe"))).scalars())


async def test_a_commit_that_fails_fails_the_job(jobs: JobKit, engine: AsyncEngine) -> None:
    @task
    async def write(ctx: Context, *, db_session: AsyncSession) -> None:
        await db_session.execute(text("INSERT INTO late_check VALUES (NULL)"))

    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE IF EXISTS late_check, late_parent"))
        await connection.execute(text("CREATE TABLE late_parent (n integer PRIMARY KEY)"))
        await connection.execute(
            text("CREATE TABLE late_check (n integer DEFAULT 1 REFERENCES late_parent DEFERRABLE INITIALLY DEFERRED)")
        )

    @task
    async def orphan(ctx: Context, *, db_session: AsyncSession) -> None:
        await db_session.execute(text("INSERT INTO late_check VALUES (5)"))

    try:
        job = await jobs.run("orphan")
        assert job.status is Status.FAILED
        assert "late_check" in (job.error or "")
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP TABLE late_check, late_parent"))


async def test_what_a_job_logs_tells_the_job(jobs: JobKit, queues: Queues) -> None:
    seen: list[dict[str, Any]] = []

    @task
    async def logs(ctx: Context) -> None:
        seen.append(dict(add_job(None, "info", {})))

    job = await jobs.run("logs")
    assert seen == [{"job": job.key, "task": "logs", "queue": "default", "attempt": 1}]
    assert add_job(None, "info", {}) == {}


async def test_a_failing_job_is_tried_as_often_as_its_retries_say(jobs: JobKit) -> None:
    tries: list[int] = []

    @task(retries=3)
    async def flaky(ctx: Context) -> int:
        tries.append(ctx["job"].attempts)
        if len(tries) < 3:
            raise ValueError("not yet")
        return len(tries)

    job = await jobs.run("flaky")
    assert (job.status, job.result, tries) == (Status.COMPLETE, 3, [1, 2, 3])


async def test_give_up_ends_a_job_whatever_retries_are_left(jobs: JobKit) -> None:
    tries: list[int] = []

    @task(retries=5)
    async def hopeless(ctx: Context) -> None:
        tries.append(1)
        raise GiveUp("the mailbox does not exist")

    job = await jobs.run("hopeless")
    assert (job.status, tries) == (Status.FAILED, [1])
    assert "the mailbox does not exist" in (job.error or "")


async def test_a_stock_producers_wrong_arguments_fail_without_retries(
    environment: dict[str, str], queues: Queues, container: AsyncContainer
) -> None:
    settings = load_settings(environment | {"WORKER_DEPLOY_WINDOW": "0"})
    stock = RedisQueue(patient(settings.redis.url.reveal()), "default")
    job = await stock.enqueue("my_task", user_id="seven", retries=5)
    assert job is not None
    async with working(settings, queues, container):
        failed = await status(queues, job, Status.FAILED)
    assert failed.attempts == 1
    assert "user_id: Expected `int`, got `str`" in (failed.error or "")
    await stock.disconnect()


async def test_a_running_job_can_be_aborted(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    cancelled = asyncio.Event()

    @task(timeout=60)
    async def sleeper(ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    job = await queues.enqueue("sleeper")
    async with working(settings, queues, container):
        await status(queues, job, Status.ACTIVE)
        await queues.abort(job.key)
        await status(queues, job, Status.ABORTED)
    assert cancelled.is_set()


async def test_an_idle_worker_stops_well_within_its_grace_period(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    loop = asyncio.get_running_loop()
    patient = structs.replace(settings, worker=structs.replace(settings.worker, grace_period=600))
    async with working(patient, queues, container):
        await eventually(queues.get("default").live_workers)
        began = loop.time()
    assert loop.time() - began < patient.worker.grace_period / 2
    assert await queues.get("default").live_workers() == 0


async def test_a_stop_before_the_start_is_not_forgotten(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    async with asyncio.timeout(60), working(settings, queues, container) as worker:
        worker.request_stop()


async def test_a_stopping_worker_lets_its_job_finish(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @task
    async def slow(ctx: Context) -> str:
        started.set()
        await go.wait()
        return "done"

    job = await queues.enqueue("slow")
    async with working(settings, queues, container) as worker:
        await started.wait()
        worker.event.set()
        go.set()
    assert (await queues.find(job.key)).result == "done"


async def test_what_does_not_finish_goes_back_without_costing_an_attempt(
    environment: dict[str, str], queues: Queues, container: AsyncContainer
) -> None:
    settings = load_settings(environment | {"WORKER_GRACE_PERIOD": "0"})
    started = asyncio.Event()

    @task(timeout=60)
    async def endless(ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    job = await queues.enqueue("endless")
    async with working(settings, queues, container):
        await started.wait()
    back = await queues.find(job.key)
    assert (back.status, back.attempts) == (Status.QUEUED, 0)
    assert await queues.get("default").count("queued") == 1


async def test_a_job_that_ignores_its_cancellation_cannot_keep_the_worker(
    environment: dict[str, str], queues: Queues, container: AsyncContainer
) -> None:
    settings = load_settings(environment | {"WORKER_GRACE_PERIOD": "0"})
    started, release = asyncio.Event(), asyncio.Event()

    @task(timeout=60)
    async def stubborn(ctx: Context) -> None:
        started.set()
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    job = await queues.enqueue("stubborn")
    async with asyncio.timeout(120), working(settings, queues, container):
        await started.wait()
    assert (await queues.find(job.key)).status is Status.QUEUED
    release.set()


async def test_a_job_that_comes_after_the_stop_stays_in_the_queue(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    queue = queues.get("default")
    async with working(settings, queues, container) as worker:
        await eventually(queue.live_workers)
        worker.request_stop()
        job = await queues.enqueue("my_task", {"user_id": 1})
    assert (await queues.find(job.key)).attempts == 0
    assert (await queue.count("queued"), await queue.count("active")) == (1, 0)


async def test_a_worker_survives_cut_connections(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    observer = patient(settings.redis.url.reveal())
    async with working(settings, queues, container):
        await eventually(queues.get("default").live_workers)
        for _ in range(3):
            await observer.client_kill_filter(_type="normal", skipme=True)
            job = await queues.enqueue("my_task", {"user_id": 1})
            await status(queues, job, Status.COMPLETE)
    await observer.aclose()


async def test_a_redis_that_accepts_and_never_answers_is_reported_in_time(tmp_path: Path) -> None:
    async with silent_redis(tmp_path) as redis, asyncio.timeout(60):
        with pytest.raises(QueueUnavailable):
            await EngineQueue(redis, timings=Timings(answer=0.3)).enqueue("anything")


async def test_a_full_redis_is_unavailable(queues: Queues) -> None:
    queue = queues.get("default")
    await queue.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailable, match="memory"):
            await queues.enqueue("my_task", {"user_id": 1})
    finally:
        await queue.redis.config_set("maxmemory", 0)


async def test_a_job_retried_by_hand_starts_as_new(jobs: JobKit, queues: Queues) -> None:
    @task(retries=2, retry_delay=0.0)
    async def once_more(ctx: Context) -> int:
        return ctx["job"].attempts

    job = await jobs.run("once_more")
    job.meta |= {RECOVERIES: 3, EXPIRES_AT: 1}
    await job.update(retry_delay=3600)
    again = await queues.retry(job.key)
    assert (again.status, again.attempts, again.result, again.meta) == (Status.QUEUED, 0, None, {ROUND: 1})
    assert await queues.get("default").count("queued") == 1


async def test_a_worker_pauses_while_redis_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    queue = EngineQueue(Redis.from_url(f"unix://{tmp_path}/nobody.sock", retry=None))
    worker = EngineWorker(queue, [])
    loop = asyncio.get_running_loop()
    began = loop.time()
    running = asyncio.create_task(worker.start())
    await eventually(lambda: queue.outage.failures >= 3)
    # 0.4 s doubled each time, at least half of it after jitter: 0.2 + 0.4 before the third failure.
    assert loop.time() - began >= 0.6
    assert [record.message for record in caplog.records if "Redis is away" in record.message]
    worker.request_stop()
    await running


async def test_a_parameter_neither_json_nor_provided_stops_the_worker_at_start(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    class Unheard:
        pass

    @task
    async def needy(ctx: Context, *, thing: Unheard) -> None: ...

    with pytest.raises(ConfigurationError, match=r"needy: thing: .*Unheard"):
        build_workers(settings, queues, container)


def test_a_task_of_an_unknown_queue_stops_the_process_at_start(settings: Settings) -> None:
    @task(queue="nowhere")
    async def stray(ctx: Context) -> None: ...

    with pytest.raises(ConfigurationError, match="stray: queue='nowhere'"):
        build_queues(settings)
    check_queue_names(get_registry(), ["default", "nowhere"])


def test_a_tasks_module_without_an_import_line_is_an_error_naming_the_line(tmp_path: Path) -> None:
    for domain in ("billing", "users"):
        (tmp_path / "app" / domain).mkdir(parents=True)
        (tmp_path / "app" / domain / "tasks.py").touch()
    config = tmp_path / "config.py"
    config.write_text("import app.users.tasks\n")
    with pytest.raises(ConfigurationError) as caught:
        check_task_modules_are_imported(tmp_path / "app", config)
    assert "import app.billing.tasks" in str(caught.value)
    assert "app.users.tasks" not in str(caught.value)
    config.write_text("import app.users.tasks\nfrom app.billing import tasks\n")
    check_task_modules_are_imported(tmp_path / "app", config)


async def test_batch_process_drops_entries_whose_job_is_gone(jobs: JobKit, queues: Queues) -> None:
    queue = queues.get("default")
    for number in range(5):
        await queues.enqueue("my_task", {"user_id": number}, key=f"later-{number}", scheduled=4_000_000_000)
    await queue.redis.delete(queue.job_id("later-1"), queue.job_id("later-3"))
    job = await jobs.run("batch_process", batch_size=2)
    assert job.result["dropped"] == 2
    assert await queue.count("incomplete") >= 3
    assert (await queues.find("later-0")).status is Status.QUEUED


async def test_cleanup_old_records_deletes_only_what_ended_long_ago(jobs: JobKit, queues: Queues) -> None:
    queue = queues.get("default")
    for key in ("old", "new"):
        await queues.enqueue("my_task", {"user_id": 1}, key=key, ttl=0)
    await jobs.drain()
    old = await queues.find("old")
    await old.update(completed=1)
    assert (await jobs.run("cleanup_old_records", days=1)).result == {"deleted_count": 1}
    assert await queue.job("old") is None
    assert await queue.job("new") is not None
