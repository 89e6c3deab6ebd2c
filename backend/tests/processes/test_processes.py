"""The application's processes as they run in production."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import pytest
import redis
from saq import Job

from saqueduct import EngineQueue
from saqueduct.serving import EXIT_MISCONFIGURED
from saqueduct.tasks.job import EngineJob
from tests.fixtures.clients import patient
from tests.fixtures.poll import eventually, eventually_sync
from tests.processes.stack import (
    WEB,
    WORKER,
    WORKER_THAT_IS_WOKEN,
    WORKER_WITH_TEST_TASKS,
    enqueue,
    process,
    web,
)

pytestmark = pytest.mark.long


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the test's Redis, emptied."""
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    client.flushall()
    client.set("own url", redis_url)
    yield client
    client.close()


def ended(client: httpx.Client, location: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job = cast("dict[str, Any]", client.get(location).json())
        return job if job["status"] in {"complete", "failed", "aborted"} else None

    return eventually_sync(look)


def test_a_job_enqueued_over_http_is_run_and_its_result_read_over_http(
    environment: dict[str, str], server: redis.Redis, tmp_path: Path
) -> None:
    with web(environment, tmp_path / "web.log") as client, process(WORKER, environment, tmp_path / "worker.log"):
        answer = client.post("/process", params={"user_id": 7})
        assert answer.status_code == 201
        job = ended(client, answer.headers["location"])
        assert (job["status"], job["result"]) == ("complete", {"status": "success", "user_id": 7})
        eventually_sync(lambda: client.get("/health/ready").json()["workers"]["status"] == "ok")


def test_idle_workers_share_few_jobs_evenly(environment: dict[str, str], server: redis.Redis, tmp_path: Path) -> None:
    with ExitStack() as stack:
        for number in range(3):
            worker = process(WORKER_WITH_TEST_TASKS, environment, tmp_path / f"worker-{number}.log")
            stack.enter_context(worker).prints("worker started")
        eventually_sync(lambda: [each["cmd"] for each in server.client_list()].count("blmove") == 3)
        url = str(server.get("own url"))

        async def hold(count: int) -> list[Job | None]:
            queue = EngineQueue(patient(url))
            await queue.connect()
            hold = "hold_the_loop_until_all_are_taken"
            jobs = [EngineJob(function=hold, kwargs={"count": count}, timeout=60) for _ in range(count)]
            await queue.enqueue_many(jobs)

            async def done() -> bool:
                return not await queue.count("incomplete")

            await eventually(done)
            found = await queue.jobs([job.key for job in jobs])
            await queue.disconnect()
            return found

        ended = [job for job in asyncio.run(hold(12)) if job is not None]
    # Each has slots for ten of them, and asks for more only after its first job, when all are taken.
    assert sorted(Counter(job.result for job in ended).values()) == [4, 4, 4]


def test_the_time_for_which_a_worker_is_suspended_counts_for_no_job(
    environment: dict[str, str], server: redis.Redis, tmp_path: Path
) -> None:
    with process(WORKER_WITH_TEST_TASKS, environment, tmp_path / "worker.log") as worker:
        worker.prints("worker started")
        key = enqueue(str(server.get("own url")), "nap", name="go", timeout=3)
        assert server.blpop(["go:started"], timeout=60)
        worker.popen.send_signal(signal.SIGSTOP)
        resume = time.monotonic() + 5
        # Longer than the job's timeout, shorter than its lease.
        eventually_sync(lambda: time.monotonic() > resume)
        worker.popen.send_signal(signal.SIGCONT)

        def outcome() -> str:
            job = json.loads(server.get(f"saq:job:default:{key}") or "{}")
            return job["status"] if job["status"] in {"complete", "failed"} else ""

        assert eventually_sync(outcome) == "complete"


def test_a_schedule_fires_at_its_ticks(environment: dict[str, str], server: redis.Redis, tmp_path: Path) -> None:
    with process(WORKER_WITH_TEST_TASKS, environment, tmp_path / "worker.log"):
        eventually_sync(lambda: int(server.get("ticked") or 0) >= 2)
    assert server.get("by hand") is None


def test_a_pause_over_http_stops_all_workers_and_its_end_starts_them(
    environment: dict[str, str], server: redis.Redis, tmp_path: Path
) -> None:
    with (
        web(environment, tmp_path / "web.log") as client,
        process(WORKER_THAT_IS_WOKEN, environment, tmp_path / "first.log") as first,
        process(WORKER_THAT_IS_WOKEN, environment, tmp_path / "second.log") as second,
    ):
        for worker in (first, second):
            worker.prints("worker started")
        assert client.post("/queues/default/pause", json={"why": "a test"}).json()["paused"]["why"] == "a test"
        locations = [client.post("/process", params={"user_id": n}).headers["location"] for n in range(20)]
        # Also one that starts in the pause.
        with process(WORKER_THAT_IS_WOKEN, environment, tmp_path / "third.log") as third:
            for worker in (first, second, third):
                worker.prints("paused, taking no jobs")
            assert client.get("/queues/default").json()["queued"] == 20
            assert client.post("/queues/default/resume").json()["paused"] is None
            jobs = [ended(client, location) for location in locations]
        assert {job["status"] for job in jobs} == {"complete"}


def test_sigterm_lets_the_running_job_finish_and_exits_with_0(
    environment: dict[str, str], server: redis.Redis, tmp_path: Path
) -> None:
    environment = environment | {"WORKER_GRACE_PERIOD": "60"}
    with (
        web(environment, tmp_path / "web.log") as client,
        process(WORKER_WITH_TEST_TASKS, environment, tmp_path / "worker.log") as worker,
    ):
        location = enqueue_wait(client, server, "go")
        worker.popen.send_signal(signal.SIGTERM)
        worker.prints("Working shutting down")
        server.rpush("go", 1)
        assert worker.popen.wait(60) == 0
        assert client.get(location).json()["result"] == "done"


def test_what_outlasts_the_grace_period_is_run_again_by_the_next_worker(
    environment: dict[str, str], server: redis.Redis, tmp_path: Path
) -> None:
    environment = environment | {"WORKER_GRACE_PERIOD": "1"}
    with web(environment, tmp_path / "web.log") as client:
        with process(WORKER_WITH_TEST_TASKS, environment, tmp_path / "first.log") as worker:
            location = enqueue_wait(client, server, "go")
            assert worker.stop() == 0
        assert client.get(location).json()["status"] == "queued"
        server.rpush("go", 1)
        with process(WORKER_WITH_TEST_TASKS, environment, tmp_path / "second.log"):
            job = ended(client, location)
        assert (job["result"], job["attempts"]) == ("done", 1)


def enqueue_wait(client: httpx.Client, server: redis.Redis, name: str) -> str:
    """Enqueue `wait_for_key` as a producer elsewhere would, wait until it runs, return the job's path."""

    key = enqueue(str(server.get("own url")), "wait_for_key", name=name, timeout=60)
    eventually_sync(lambda: server.llen(f"{name}:started"))
    return f"/jobs/{key}"


def test_a_worker_goes_on_after_its_connections_were_cut(
    environment: dict[str, str], server: redis.Redis, tmp_path: Path
) -> None:
    with web(environment, tmp_path / "web.log") as client, process(WORKER, environment, tmp_path / "worker.log") as it:
        it.prints("worker started")
        for number in range(3):
            server.client_kill_filter(_type="normal", skipme=True)
            answer = client.post("/process", params={"user_id": number})
            assert ended(client, answer.headers["location"])["status"] == "complete"


def test_the_supervisor_replaces_a_killed_process_and_stops_all(
    environment: dict[str, str], server: redis.Redis, tmp_path: Path
) -> None:
    with process((*WORKER, "--processes", "2"), environment, tmp_path / "worker.log") as supervisor:
        parent = psutil.Process(supervisor.popen.pid)
        first = eventually_sync(lambda: pids if len(pids := _children(parent)) == 2 else None)
        eventually_sync(lambda: supervisor.output.count("worker started") == 2)
        victim = min(first)
        psutil.Process(victim).kill()
        eventually_sync(lambda: supervisor.output.count("worker started") == 3)
        now = _children(parent)
        assert victim not in now
        assert len(now) == 2
        assert supervisor.stop() == 0
        assert not [pid for pid in now if psutil.pid_exists(pid)]


def _children(parent: psutil.Process) -> set[int]:
    return {child.pid for child in parent.children()}


@pytest.mark.parametrize("command", [WEB, WORKER])
def test_a_process_without_servers_says_what_to_set(
    command: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    with process(command, environment | {"REDIS_URL": ""}, tmp_path / "log") as refused:
        assert refused.popen.wait(60) == EXIT_MISCONFIGURED
    assert "REDIS_URL is not set" in refused.output
    assert "Traceback" not in refused.output


def test_a_supervised_worker_that_is_misconfigured_ends_the_supervisor(
    environment: dict[str, str], tmp_path: Path
) -> None:
    command = (*WORKER, "--processes", "2", "--queues", "nowhere")
    with process(command, environment, tmp_path / "log") as refused:
        assert refused.popen.wait(60) == EXIT_MISCONFIGURED
    assert "WORKER_QUEUES" in refused.output
