"""What ends a worker process, and what does not."""

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import redis

from saqueduct.timings import Timings
from saqueduct.worker.process import EXIT_USELESS
from saqueduct.worker.supervisor import KILL_MARGIN
from tests.fixtures.poll import eventually_sync
from tests.processes.stack import WORKER_WITHOUT_SCHEDULES, Process, enqueue, process


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the test's Redis, emptied."""
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    client.flushall()
    client.set("own url", redis_url)
    yield client
    client.close()


@pytest.fixture
def worker(environment: dict[str, str], server: redis.Redis, tmp_path: Path) -> Iterator[Process]:
    """A worker that gives running jobs one second after a signal."""
    with process(WORKER_WITHOUT_SCHEDULES, environment | {"WORKER_GRACE_PERIOD": "1"}, tmp_path / "log") as started:
        started.prints("worker started")
        yield started


def _put(server: redis.Redis, task: str, **keywords: Any) -> str:
    return enqueue(str(server.get("own url")), task, **keywords)


def _job(server: redis.Redis, key: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = msgspec.json.decode(server.get(f"saq:job:default:{key}") or "{}")
    return found


def _ended(server: redis.Redis, key: str, within: float = 60.0) -> Mapping[str, Any]:
    def look() -> Mapping[str, Any] | None:
        job = _job(server, key)
        return job if job.get("status") in {"complete", "failed", "aborted"} else None

    return eventually_sync(look, within)


def _waiting(server: redis.Redis) -> int:
    return server.llen("saq:default:queued")


@pytest.mark.parametrize("task", ["leave", "leave_in_a_thread", "leave_in_a_group"])
def test_a_job_that_exits_ends_no_worker(worker: Process, server: redis.Redis, task: str) -> None:
    innocent = _put(server, "wait_for_key", name="go", timeout=60)
    assert server.blpop(["go:started"], timeout=60)
    failed = _ended(server, _put(server, task))
    assert "SystemExit: 9" in failed["error"]
    server.rpush("go", "on")
    done = _ended(server, innocent)
    assert (done["status"], done["attempts"], done.get("meta")) == ("complete", 1, None)
    assert worker.popen.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_whose_event_loop_is_blocked(
    worker: Process, server: redis.Redis, number: signal.Signals
) -> None:
    innocent = _put(server, "wait_for_key", name="go", timeout=60)
    assert server.blpop(["go:started"], timeout=60)
    blocker = _put(server, "hold_the_loop", seconds=300, timeout=600)
    eventually_sync(lambda: server.llen("saq:default:queued") == 0 and server.zcard("saq:default:leases") == 2)
    worker.prints("hold_the_loop blocks it")
    assert worker.stop(number) == EXIT_USELESS
    assert f"job {blocker} of hold_the_loop blocks its event loop" in worker.output
    owners = cast("dict[str, str]", server.hgetall("saq:default:owners"))
    assert {key.rpartition(":")[2] for key in owners} == {innocent, blocker}
    assert all(lease.endswith("|stalled") for lease in owners.values())


def test_a_signal_ends_a_worker_with_hung_threads(worker: Process, server: redis.Redis) -> None:
    key = _put(server, "hang_in_a_thread", timeout=600)
    assert server.blpop(["hung"], timeout=60)
    assert worker.stop() == 0
    assert (_job(server, key)["status"], _job(server, key).get("attempts", 0), _waiting(server)) == ("queued", 0, 1)


@pytest.mark.parametrize(
    ("task", "arguments", "ends"),
    [
        ("terminate_a_child", {}, -signal.SIGTERM),
        ("fork_and_leave", {"exits": True}, 1),
        ("fork_and_leave", {"exits": False}, 1),
        ("fork_and_leave_in_a_thread", {"exits": True}, 7),
        ("fork_and_leave_in_a_thread", {"exits": False}, 1),
    ],
)
def test_a_process_that_a_job_forks_is_no_second_worker(
    worker: Process, server: redis.Redis, task: str, arguments: dict[str, Any], ends: int
) -> None:
    ended = _ended(server, _put(server, task, kwargs=arguments))
    assert (ended["status"], ended.get("result"), ended["attempts"]) == ("complete", ends, 1)


@pytest.mark.long
@pytest.mark.parametrize("busy", [False, True])
def test_a_worker_ends_in_time_while_redis_hangs(worker: Process, server: redis.Redis, busy: bool) -> None:
    if busy:
        _put(server, "wait_for_key", name="go", timeout=60)
        assert server.blpop(["go:started"], timeout=60)
    number = int(server.info()["process_id"])
    os.kill(number, signal.SIGSTOP)
    try:
        worker.prints("its worker's state is not reported")
        # On its own: no supervisor kills it here. One would wait longer than it may need.
        assert Timings().process_end < KILL_MARGIN
        assert worker.stop() in {0, EXIT_USELESS}
    finally:
        os.kill(number, signal.SIGCONT)
    reports = [
        line for line in worker.output.splitlines() if "trying again: Timeout" in line and "saqueduct.worker" in line
    ]
    assert len(reports) == 1


@pytest.mark.long
def test_a_worker_that_jobs_have_used_up_hands_back_and_ends(
    environment: dict[str, str], server: redis.Redis, tmp_path: Path
) -> None:
    options = {"WORKER_GRACE_PERIOD": "1", "WORKER_CONCURRENCY": "4"}
    with process(WORKER_WITHOUT_SCHEDULES, environment | options, tmp_path / "log") as started:
        hung = [_put(server, "hang_in_a_thread", timeout=1) for _ in range(8)]
        # Four at a time, each for a second and the grace.
        assert started.popen.wait(60) == EXIT_USELESS
        assert "8 attempts ignore their cancellation" in started.output
    jobs = [_job(server, key) for key in hung]
    assert [job["status"] for job in jobs] == ["failed"] * 8
    assert all("in hang_in_a_thread" in job["error"] for job in jobs)
