"""Enqueue over HTTP: options, waits and batches."""

import asyncio
import datetime as dt
from typing import Any, cast

import httpx
import pytest

from saqueduct import Context, Debounce, GiveUp, Queues, task
from saqueduct.litestar.routes.listeners import WAITING
from saqueduct.tasks.job_meta import EXPIRES_AT
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.queue.kit import filled
from tests.test_security import PASSWORD, application, basic

ROUTES = ["/process?user_id=7&", "/tasks/my_task?"]


async def post(client: httpx.AsyncClient, route: str, query: str, **more: Any) -> httpx.Response:
    body: dict[str, Any] = {"json": {"user_id": 7}} if route.startswith("/tasks") else {}
    return await client.post(route + query, **body, **more)


@pytest.mark.parametrize("route", ROUTES)
async def test_options_in_the_query_are_those_of_the_job(client: httpx.AsyncClient, queues: Queues, route: str) -> None:
    answer = await post(client, route, "delay=60&key=tenant/1&priority=high&expires=120")
    assert (answer.status_code, answer.json()) == (201, {"job_id": "tenant/1", "created": True, "key": "tenant/1"})
    job = await queues.find("tenant/1")
    due = dt.datetime.now(dt.UTC).timestamp() + 60
    assert job.scheduled == pytest.approx(due, abs=10)
    assert job.meta[EXPIRES_AT] == pytest.approx(due + 60, abs=10)
    assert (job.priority, job.kwargs) == (-1, {"user_id": 7})
    again = await post(client, route, "key=tenant/1")
    assert (again.status_code, again.json()["created"], again.json()["key"]) == (200, False, "tenant/1")


@pytest.mark.parametrize("route", ROUTES)
async def test_a_job_is_due_at_a_time(client: httpx.AsyncClient, queues: Queues, route: str) -> None:
    answer = await post(client, route, "eta=2100-01-01T01:00:00%2B01:00")
    job = await queues.find(answer.json()["key"])
    assert job.scheduled == dt.datetime(2100, 1, 1, tzinfo=dt.UTC).timestamp()
    assert (await client.get(f"/jobs/{job.key}")).json()["due_at"] == "2100-01-01T00:00:00Z"


@pytest.mark.parametrize("route", ROUTES)
async def test_an_idempotency_key_is_the_key(client: httpx.AsyncClient, route: str) -> None:
    answers = [await post(client, route, "", headers={"Idempotency-Key": "0"}) for _ in range(2)]
    assert [(answer.status_code, answer.json()["key"]) for answer in answers] == [(201, "0"), (200, "0")]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("query", "headers", "name"),
    [
        ("delay=-1", {}, "delay"),
        ("delay=soon", {}, "delay"),
        ("delay=nan", {}, "delay"),
        ("delay=1e300", {}, "delay"),
        ("eta=2100-01-01T00:00:00", {}, "eta"),
        ("eta=tomorrow", {}, "eta"),
        ("eta=2100", {}, "eta"),
        ("key=caf%e9", {}, "key"),
        ("delay=1&eta=2100-01-01T00:00:00Z", {}, "delay or eta"),
        ("priority=urgent", {}, "priority"),
        ("expires=-1", {}, "expires"),
        ("key=", {}, "key"),
        ("key=%00", {}, "key"),
        (f"key={'x' * 513}", {}, "512"),
        ("", {"Idempotency-Key": "x" * 513}, "512"),
        ("", [("Idempotency-Key", "a"), ("Idempotency-Key", "b")], "twice"),
        ("key=a", {"Idempotency-Key": "b"}, "Idempotency-Key"),
        ("", {"Idempotency-Key": ""}, "Idempotency-Key"),
        ("wait=61", {}, "wait"),
        ("wait=-1", {}, "wait"),
        ("delays=1", {}, "delays"),
        ("delay=1&delay=2", {}, "delay"),
    ],
)
async def test_impossible_options_are_400_and_named(
    client: httpx.AsyncClient,
    jobs: JobKit,
    route: str,
    query: str,
    headers: dict[str, str] | list[tuple[str, str]],
    name: str,
) -> None:
    answer = await post(client, route, query, headers=headers)
    assert answer.status_code == 400, answer.text
    assert name in answer.json()["detail"]
    jobs.refute_enqueued()


@pytest.mark.parametrize(
    "query", ["delay=1", "key=welcome:1", "priority=high", "expires=1", "eta=2100-01-01T00:00:00Z"]
)
async def test_only_the_admin_chooses_options_of_process(
    environment: dict[str, str], queues: Queues, jobs: JobKit, query: str
) -> None:
    async with application(environment | {"ADMIN_PASSWORD": PASSWORD, "QUEUE_NAMES": "default"}) as client:
        assert (await client.post(f"/process?user_id=1&{query}")).status_code == 401
        assert (await client.post("/process?user_id=1", headers={"Idempotency-Key": "welcome:1"})).status_code == 401
        jobs.refute_enqueued()
        admin = basic("admin", PASSWORD)
        assert (await client.post(f"/process?user_id=1&{query}", headers=admin)).status_code == 201
        assert (await client.post("/process?user_id=1&wait=0")).status_code == 202


async def test_a_user_comes_once(client: httpx.AsyncClient, jobs: JobKit) -> None:
    for body in ({"user_id": 8}, {"other": 1}):
        assert (await client.post("/process?user_id=7", json=body)).status_code == 400
    assert (await client.post("/process?user_id=7", json={})).status_code == 201


@pytest.mark.parametrize("route", ROUTES)
async def test_a_wait_is_answered_with_the_result(client: httpx.AsyncClient, jobs: JobKit, route: str) -> None:
    async with jobs.working():
        answer = await post(client, route, "wait=20")
    assert answer.status_code == 201
    job = answer.json()
    assert (job["status"], job["result"], job["created"]) == ("complete", {"status": "success", "user_id": 7}, True)
    assert answer.headers["location"].startswith(f"/jobs/{job['key']}?token=")


async def test_a_wait_for_a_job_that_fails_tells_its_error(
    client: httpx.AsyncClient, jobs: JobKit, own_tasks: None
) -> None:
    @task
    async def fails(ctx: Context) -> None:
        raise GiveUp("no luck")

    async with jobs.working():
        answer = await client.post("/tasks/fails?wait=20")
    assert (answer.status_code, answer.json()["status"]) == (201, "failed")
    assert "no luck" in answer.json()["error"]


async def test_a_wait_that_ends_before_the_job_is_202(client: httpx.AsyncClient) -> None:
    answer = await client.post("/process?user_id=7&wait=0.05")
    assert (answer.status_code, answer.json()["status"], answer.json()["result"]) == (202, "queued", None)
    assert (await client.get(answer.headers["location"])).status_code == 200


async def test_who_finds_no_room_to_wait_has_the_job_all_the_same(client: httpx.AsyncClient) -> None:
    with filled(WAITING):
        assert (await client.post("/process?user_id=7&wait=60")).status_code == 202


async def test_a_wait_leaves_its_place(client: httpx.AsyncClient) -> None:
    waiting = asyncio.create_task(client.post("/process?user_id=7&wait=0.2"))
    await eventually(lambda: WAITING.inside == 1)
    await waiting
    assert WAITING.inside == 0


async def test_a_batch_is_enqueued_in_order(client: httpx.AsyncClient, jobs: JobKit, queues: Queues) -> None:
    arguments = [{"user_id": number} for number in range(3)]
    answer = await client.post("/tasks/my_task/batch?delay=60&priority=low", json=arguments)
    assert answer.status_code == 201
    made = answer.json()["jobs"]
    found = [await queues.find(each["key"]) for each in made]
    assert [job.kwargs for job in found] == arguments
    assert {job.priority for job in found} == {1}
    assert all(job.scheduled for job in found)
    assert (await client.get(made[2]["location"])).json()["key"] == made[2]["job_id"]


async def test_calls_of_a_debounced_task_share_a_job(client: httpx.AsyncClient, jobs: JobKit, own_tasks: None) -> None:
    @task(debounce=Debounce(500, by="doc"))
    async def index(ctx: Context, *, doc: int, text: str) -> None: ...

    first = await client.post("/tasks/index", json={"doc": 1, "text": "a"})
    again = await client.post("/tasks/index", json={"doc": 1, "text": "b"})
    assert (first.status_code, again.status_code, again.json()["created"]) == (201, 200, False)
    assert again.json()["key"] == first.json()["key"]
    await client.post("/tasks/index/batch", json=[{"doc": 1, "text": "c"}, {"doc": 1, "text": "d"}])
    assert [job.kwargs for job in jobs.all_enqueued(index)] == [{"doc": 1, "text": "d"}]
    refused = await client.post("/tasks/index", json={"doc": 1, "text": "e"}, headers={"Idempotency-Key": "x"})
    assert refused.status_code == 400
    assert "key: the task 'index' is debounced" in refused.text


async def test_a_batch_with_wrong_arguments_is_refused_as_a_whole(client: httpx.AsyncClient, jobs: JobKit) -> None:
    answer = await client.post("/tasks/my_task/batch", json=[{"user_id": 1}, {"user_id": "x"}, {"user": 1}, 5])
    assert answer.status_code == 400
    assert {"[1].user_id", "[2].user", "[3].body"} <= set(answer.json()["errors"])
    jobs.refute_enqueued()


@pytest.mark.parametrize(
    "body", [{}, {"user_id": 1}, "x", [{"user_id": 1}] * 10_001], ids=["{}", "one", "text", "many"]
)
async def test_a_batch_is_an_array_of_limited_length(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post("/tasks/my_task/batch", json=body)
    assert (answer.status_code, "10,000" in answer.json()["detail"]) == (400, True)


async def test_the_jobs_of_a_batch_share_a_key(client: httpx.AsyncClient) -> None:
    arguments = [{"user_id": 1}, {"user_id": 2}]
    for created in (True, False):
        answer = await client.post("/tasks/my_task/batch", json=arguments, headers={"Idempotency-Key": "import"})
        assert [(job["key"], job["created"]) for job in answer.json()["jobs"]] == [
            ("import:0", created),
            ("import:1", created),
        ]


async def test_the_keys_of_a_batch_have_a_limited_length(client: httpx.AsyncClient, jobs: JobKit) -> None:
    arguments = [{"user_id": 1}, {"user_id": 2}]
    answer = await client.post(f"/tasks/my_task/batch?key={'x' * 511}", json=arguments)
    assert (answer.status_code, "512" in answer.json()["detail"]) == (400, True)
    jobs.refute_enqueued()


async def test_an_empty_batch_makes_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post("/tasks/my_task/batch", json=[])
    assert (answer.status_code, answer.json()) == (201, {"jobs": []})


async def test_a_batch_of_no_task_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.post("/tasks/my_tusk/batch", json=[])).json()["near"] == ["my_task"]


@pytest.mark.parametrize("route", ROUTES)
async def test_an_idempotency_key_that_is_no_utf_8_is_400(client: httpx.AsyncClient, jobs: JobKit, route: str) -> None:
    answer = await post(client, route, "", headers=cast("Any", {b"Idempotency-Key": b"caf\xe9"}))
    assert answer.status_code == 400, answer.text
    assert "Idempotency-Key" in answer.json()["detail"]
