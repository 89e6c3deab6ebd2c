"""The queue over HTTP."""

import asyncio
import re
import time
import traceback
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from saq.job import Status

from app.main import create_app
from app.queue.tasks import my_task
from app.settings import load_settings
from saqueduct import Context, GiveUp, Queues, Unique, get_registry, task
from saqueduct.broker.keys import REPORTS
from saqueduct.queue.redacted_view import error_summary
from saqueduct.queue.worker_health import WorkerState
from saqueduct.testing import JobKit
from tests.conftest import running

JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def extra_tasks() -> Iterator[None]:
    """Tasks of this module beside the application's."""
    registry = get_registry()
    before = registry.get_all_tasks()
    with registry.isolated():
        for each in before:
            registry.add(each)

        @task
        async def named_like_fields(ctx: Context, *, key: str, timeout: int, meta: dict[str, Any]) -> dict[str, Any]:
            return {"key": key, "timeout": timeout, "meta": meta}

        @task
        async def fails(ctx: Context) -> None:
            raise ValueError("no luck\nat all")

        yield


async def test_process_enqueues_by_query(client: httpx.AsyncClient, jobs: JobKit) -> None:
    answer = await client.post("/process?user_id=7")
    assert answer.status_code == 201
    key = answer.json()["job_id"]
    assert answer.headers["location"].startswith(f"/jobs/{key}?token=")
    await jobs.drain()
    job = (await client.get(f"/jobs/{key}")).json()
    assert (job["status"], job["task"], job["queue"]) == ("complete", "my_task", "default")
    assert job["result"] == {"status": "success", "user_id": 7}
    assert job["attempts"] == 1
    assert job["queued"] <= job["started"] <= job["completed"]


async def test_process_takes_a_json_body_too(client: httpx.AsyncClient, jobs: JobKit) -> None:
    answer = await client.post("/process", json={"user_id": 3})
    assert answer.status_code == 201
    jobs.assert_enqueued(my_task.options(key=answer.json()["job_id"]), user_id=3)


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {}},
        {"json": {"user_id": "x"}},
        {"params": {"user_id": "x"}},
        {"content": b"{not json", "headers": JSON},
        {"json": [1]},
        {"content": b"\xff\xfe", "headers": JSON},
        {},
    ],
)
async def test_process_refuses_bad_input(client: httpx.AsyncClient, jobs: JobKit, request_: dict[str, Any]) -> None:
    answer = await client.post("/process", **request_)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    jobs.refute_enqueued()


async def test_the_catalogue_tells_all_of_a_task(client: httpx.AsyncClient) -> None:
    tasks = {each["name"]: each for each in (await client.get("/tasks")).json()}
    batch = tasks["batch_process"]
    assert batch["schedules"] == [
        {
            "key": "batch_process",
            "cron": "0 */6 * * *",
            "every": None,
            "timezone": None,
            "catch_up": "once",
            "overlap": "skip",
            "kwargs": {"batch_size": 100},
        }
    ]
    assert batch["parameters"]["properties"]["batch_size"] == {"type": "integer", "minimum": 1, "default": 50}
    assert batch["doc"].startswith("Check the queue's incomplete jobs")
    assert batch["queue"] == "default"
    assert batch["options"]["timeout"] == 600
    assert tasks["my_task"]["parameters"]["required"] == ["user_id"]


async def test_enqueue_by_name(client: httpx.AsyncClient, jobs: JobKit) -> None:
    answer = await client.post("/tasks/my_task", json={"user_id": 5})
    assert answer.status_code == 201
    assert answer.headers["location"].startswith(f"/jobs/{answer.json()['job_id']}?token=")
    jobs.assert_enqueued(my_task.options(key=answer.json()["job_id"]), user_id=5)


async def test_arguments_named_like_job_fields_reach_the_function(
    client: httpx.AsyncClient, queues: Queues, jobs: JobKit
) -> None:
    arguments = {"key": "mine", "timeout": 1, "meta": {"a": 1}}
    key = (await client.post("/tasks/named_like_fields", json=arguments)).json()["job_id"]
    job = await queues.find(key)
    assert (job.timeout, job.meta) == (10, {})
    await jobs.drain()
    assert (await queues.find(key)).result == arguments


async def test_an_unknown_task_is_404_with_near_matches(client: httpx.AsyncClient) -> None:
    answer = await client.post("/tasks/my_tsak", json={})
    assert answer.status_code == 404
    assert answer.json()["near"] == ["my_task"]
    assert "did you mean my_task?" in answer.json()["detail"]


async def test_wrong_arguments_are_400_naming_each(client: httpx.AsyncClient, jobs: JobKit) -> None:
    answer = await client.post("/tasks/my_task", json={"user": 1})
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {"user", "user_id"}
    jobs.refute_enqueued()


async def test_oversized_arguments_are_413(client: httpx.AsyncClient, jobs: JobKit) -> None:
    answer = await client.post("/tasks/named_like_fields", json={"key": "x" * 300_000, "timeout": 1, "meta": {}})
    assert answer.status_code == 413
    jobs.refute_enqueued()


@pytest.mark.parametrize(("method", "path"), [("GET", "/jobs/no"), ("DELETE", "/jobs/no"), ("POST", "/jobs/no/retry")])
async def test_an_unknown_job_is_404(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "job-not-found"


async def test_a_waiting_job_is_aborted_at_once_and_can_be_retried(
    client: httpx.AsyncClient, queues: Queues, jobs: JobKit
) -> None:
    key = (await client.post("/process?user_id=1")).json()["job_id"]
    aborted = await client.delete(f"/jobs/{key}")
    assert (aborted.status_code, aborted.json()["status"]) == (202, "aborted")
    assert (await client.delete(f"/jobs/{key}")).status_code == 409
    retried = await client.post(f"/jobs/{key}/retry")
    assert (retried.status_code, retried.json()["status"]) == (202, "queued")
    assert (await client.post(f"/jobs/{key}/retry")).status_code == 409
    await jobs.drain()
    assert (await queues.find(key)).status is Status.COMPLETE


async def test_an_error_is_shown_without_its_stack(client: httpx.AsyncClient, jobs: JobKit) -> None:
    job = await jobs.run("fails")
    assert "Traceback" in (job.error or "")
    shown = (await client.get(f"/jobs/{job.key}")).json()
    assert shown["status"] == "failed"
    assert shown["error"] == "ValueError: no luck\nat all"


def test_the_summary_of_chained_errors_is_the_last() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise GiveUp("outer") from error
    except GiveUp:
        assert error_summary(traceback.format_exc()) == "saqueduct.errors.GiveUp: outer"
    caused = TimeoutError("it ran longer than 3 s")
    caused.__cause__ = asyncio.CancelledError()
    assert error_summary("".join(traceback.format_exception(caused))) == "TimeoutError: it ran longer than 3 s"
    assert error_summary("swept") == "swept"
    assert error_summary(None) is None


async def test_with_redis_away_the_answer_is_503_with_retry_after(
    environment: dict[str, str], engine: object, tmp_path: Any
) -> None:
    application = create_app(load_settings(environment | {"REDIS_URL": f"unix://{tmp_path}/nobody.sock"}))
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with (
        running(application),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        for call in (
            client.post("/process?user_id=1"),
            client.post("/tasks/my_task", json={"user_id": 1}),
            client.get("/jobs/some"),
            client.delete("/jobs/some"),
            client.post("/jobs/some/retry"),
        ):
            answer = await call
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert "Traceback" not in answer.text
        ready = await client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["checks"] == {"redis": "unavailable", "postgresql": "ok"}
        assert (await client.get("/health/live")).status_code == 200


async def test_readiness_tells_workers_apart(client: httpx.AsyncClient, queues: Queues) -> None:
    alone = await client.get("/health/ready")
    assert alone.status_code == 200
    assert alone.json()["workers"] == {"status": "none", "live": {"default": 0}, "paused": [], "problems": []}
    await queues.get("default").worker_info("w1", queue_key="default")
    served = (await client.get("/health/ready")).json()
    assert served["workers"] == {"status": "ok", "live": {"default": 1}, "paused": [], "problems": []}


async def test_readiness_says_that_all_workers_are_paused(client: httpx.AsyncClient, queues: Queues) -> None:
    queue = queues.get("default")
    await queue.worker_info("w1", queue_key="default")
    state = msgspec.json.encode(WorkerState(leased=0.0, free=1, slots=1, paused=True))
    await queue.redis.hset(queue.namespace(REPORTS), "w1", f"{time.time()} ".encode() + state)
    answer = await client.get("/health/ready")
    assert answer.status_code == 200
    workers = {"status": "paused", "live": {"default": 1}, "paused": ["default"], "problems": []}
    assert answer.json()["workers"] == workers


async def test_unknown_paths_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    missing, wrong = await asyncio.gather(client.get("/nowhere"), client.put("/process"))
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.json()["code"] == "not-found"


async def test_the_openapi_document_and_its_page_are_served(client: httpx.AsyncClient) -> None:
    page = await client.get("/schema")
    assert page.status_code == 200
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert "/schema/assets/swagger-ui-bundle.js" in files
    for file in files:
        answer = await client.get(file)
        assert (answer.status_code, len(answer.content) > 100) == (200, True), file
    document = (await client.get("/schema/openapi.json")).json()
    assert {"/process", "/tasks", "/tasks/{name}", "/jobs/{key}", "/jobs/{key}/retry"} <= set(document["paths"])


async def test_a_unique_job_that_exists_is_answered_with_200(client: httpx.AsyncClient) -> None:
    with get_registry().isolated():

        @task(unique=Unique(by=("user_id",)))
        async def feed(ctx: Context, *, user_id: int) -> None: ...

        @task(unique=Unique(on_conflict="raise"), priority="high", retry_on=(KeyError,), redact=("user_id",))
        async def strict(ctx: Context, *, user_id: int) -> None: ...

        first = await client.post("/tasks/feed", json={"user_id": 1})
        again = await client.post("/tasks/feed", json={"user_id": 1})
        assert (first.status_code, first.json()["created"]) == (201, True)
        assert (again.status_code, again.json()) == (200, first.json() | {"created": False})
        await client.post("/tasks/strict", json={"user_id": 1})
        conflict = await client.post("/tasks/strict", json={"user_id": 1})
        assert (conflict.status_code, conflict.json()["code"]) == (409, "duplicate-job")
        shown = {each["name"]: each["options"] for each in (await client.get("/tasks")).json()}
    assert shown["strict"]["priority"] == "high"
    assert shown["strict"]["retry_on"] == ["KeyError"]
    assert shown["strict"]["unique"]["on_conflict"] == "raise"
    assert shown["feed"]["retry_on"] is None
