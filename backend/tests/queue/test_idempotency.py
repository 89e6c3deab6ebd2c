"""The header Idempotency-Key: a request that is repeated within a day enqueues nothing, also when its job has ended."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

import httpx
import pytest

from saqueduct import Context, Queues, QueueUnavailable, Unique, get_registry, task
from saqueduct.broker.outage import answering, is_silent, note_silence
from saqueduct.common.secret import Secret
from saqueduct.litestar import idempotency
from saqueduct.litestar.idempotency import AGAIN, KEPT, IdempotentRequest
from saqueduct.litestar.links import JobLinks
from saqueduct.queue.queue import EngineQueue
from saqueduct.testing import JobKit

RUNS: list[int] = []
KEY = {"Idempotency-Key": "import-7"}

with get_registry().isolated():

    @task
    async def count(ctx: Context, *, number: int = 0) -> int:
        RUNS.append(number)
        return number

    @task(durable=True)
    async def keep(ctx: Context, *, number: int = 0) -> None: ...

    @task
    async def pair(ctx: Context, *, a: int, b: int) -> None: ...

    @task(unique=Unique())
    async def once(ctx: Context, *, number: int = 0) -> None: ...


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    RUNS.clear()
    for each in (count, keep, once, pair):
        get_registry().add(each)


async def post(
    client: httpx.AsyncClient, content: Any, *, name: str = "count", query: str = "", headers: Mapping[str, str] = KEY
) -> httpx.Response:
    return await client.post(f"/tasks/{name}?{query}", json=content, headers=headers)


def name_of(queues: Queues) -> str:
    return queues.get("default").core.namespace("idempotency:import-7")


async def test_a_repeated_request_gets_the_job_of_the_first_also_after_that_has_ended(
    client: httpx.AsyncClient, jobs: JobKit
) -> None:
    first = await post(client, {"number": 1})
    await jobs.drain()
    second = await post(client, {"number": 1})
    assert (first.status_code, first.json()) == (201, {"job_id": "import-7", "created": True, "key": "import-7"})
    assert (second.status_code, second.json()) == (200, {"job_id": "import-7", "created": False, "key": "import-7"})
    # The answer to the first may have been lost on its way.
    assert second.headers["Location"] == first.headers["Location"]
    assert (await client.get(second.headers["Location"])).json()["result"] == 1
    await jobs.drain()
    assert RUNS == [1]


async def test_a_repeated_request_may_wait_for_the_result(client: httpx.AsyncClient, jobs: JobKit) -> None:
    await post(client, {"number": 1})
    await jobs.drain()
    answer = (await post(client, {"number": 1}, query="wait=5")).json()
    assert (answer["created"], answer["status"], answer["result"]) == (False, "complete", 1)


async def test_a_job_that_redis_has_forgotten_is_named(client: httpx.AsyncClient, jobs: JobKit, queues: Queues) -> None:
    await post(client, {"number": 1})
    await jobs.drain()
    await queues.get("default").redis.delete(queues.get("default").job_id("import-7"))
    answer = await post(client, {"number": 1}, query="wait=5")
    assert (answer.status_code, answer.json()["key"], answer.json()["created"]) == (200, "import-7", False)
    await jobs.drain()
    assert RUNS == [1]


@pytest.mark.parametrize(
    ("content", "name", "query"),
    [({"number": 2}, "count", ""), ({"number": 1}, "keep", ""), ({"number": 1}, "count", "priority=high")],
    ids=["arguments", "task", "options"],
)
async def test_the_key_of_another_request_is_422(
    client: httpx.AsyncClient, jobs: JobKit, content: Any, name: str, query: str
) -> None:
    await post(client, {"number": 1})
    answer = await post(client, content, name=name, query=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
    assert len(jobs.all_enqueued()) == 1


async def test_after_another_secret_key_a_repeated_request_gets_the_job_of_the_first(
    client: httpx.AsyncClient, jobs: JobKit, queues: Queues
) -> None:
    await post(client, {"number": 1})
    redis, name = queues.get("default").redis, name_of(queues)
    stored = json.loads(cast("bytes", await redis.get(name)))
    assert len(stored["secret"]) == 16
    await redis.set(name, json.dumps(stored | {"request": "of another secret", "secret": "another"}))
    answer = await post(client, {"number": 1})
    assert (answer.status_code, answer.json()["key"], answer.json()["created"]) == (200, "import-7", False)
    assert len(jobs.all_enqueued()) == 1
    # An earlier release kept no more.
    del stored["secret"]
    await redis.set(name, json.dumps(stored | {"request": "another one"}))
    assert (await post(client, {"number": 1})).status_code == 422


def test_the_id_of_a_secret_is_that_of_no_other() -> None:
    first, same, other = (JobLinks(Secret(text)).secret_id for text in ("one", "one", "two"))
    assert first == same != other


async def test_the_order_of_members_does_not_make_another_request(client: httpx.AsyncClient) -> None:
    headers = {**KEY, "Content-Type": "application/json"}
    for body, status in (('{"a": 1, "b": 2}', 201), ('{"b":2,"a":1}', 200)):
        assert (await client.post("/tasks/pair", content=body, headers=headers)).status_code == status


async def test_a_request_whose_first_is_not_answered_yet_is_409(client: httpx.AsyncClient, queues: Queues) -> None:
    await post(client, {"number": 1})
    redis, name = queues.get("default").redis, name_of(queues)
    assert KEPT - 60 < await redis.ttl(name) <= KEPT
    stored = cast("bytes", await redis.get(name)).decode()
    await redis.set(name, stored[: stored.index(',"jobs"')] + "}")
    answer = await post(client, {"number": 1})
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency-key-in-use")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(("name", "status"), [("count", 503), ("keep", 201)])
async def test_without_redis_only_durable_jobs_are_accepted(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, name: str, status: int
) -> None:
    async def away(_: IdempotentRequest) -> None:
        raise QueueUnavailable("Redis is away")

    monkeypatch.setattr(IdempotentRequest, "_begun", away)
    assert (await post(client, {"number": 1}, name=name)).status_code == status


async def test_the_key_of_a_durable_job_is_kept_where_redis_was_away_for_a_moment(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, jobs: JobKit
) -> None:
    async def away(_: IdempotentRequest) -> None:
        raise QueueUnavailable("Redis is away")

    with monkeypatch.context() as patched:
        patched.setattr(IdempotentRequest, "_begun", away)
        first = await post(client, {"number": 1}, name="keep")
    await jobs.drain()
    second = await post(client, {"number": 1}, name="keep")
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.headers["Location"] == first.headers["Location"]
    assert (await post(client, {"number": 2}, name="keep")).status_code == 422


async def test_a_request_that_was_refused_may_be_corrected_with_the_same_key(client: httpx.AsyncClient) -> None:
    assert (await post(client, {"number": "x"})).status_code == 400
    assert (await post(client, {"number": 1})).status_code == 201


async def test_a_batch_is_repeated_as_a_whole(client: httpx.AsyncClient, jobs: JobKit) -> None:
    content = [{"number": 1}, {"number": 2}]
    first = (await client.post("/tasks/count/batch", json=content, headers=KEY)).json()["jobs"]
    await jobs.drain()
    second = (await client.post("/tasks/count/batch", json=content, headers=KEY)).json()["jobs"]
    assert [(job["key"], job["created"]) for job in first] == [("import-7:0", True), ("import-7:1", True)]
    assert second == [{**job, "created": False} for job in first]
    longer = await client.post("/tasks/count/batch", json=[*content, {"number": 3}], headers=KEY)
    assert longer.status_code == 422
    await jobs.drain()
    assert sorted(RUNS) == [1, 2]


async def test_a_batch_remembers_which_jobs_existed_before(client: httpx.AsyncClient) -> None:
    other = (await client.post("/tasks/once", json={"number": 1})).json()["key"]
    answers = [
        (await client.post("/tasks/once/batch", json=[{"number": 1}, {"number": 2}], headers=KEY)).json()["jobs"]
        for _ in range(2)
    ]
    assert [[job["key"] for job in answer] for answer in answers] == [[other, "import-7:1"]] * 2
    assert [job["created"] for job in answers[0]] == [False, True]
    # The job of another caller.
    assert [["token" in job["location"] for job in answer] for answer in answers] == [[False, True]] * 2


async def test_a_key_in_the_query_serves_again_once_its_job_has_ended(client: httpx.AsyncClient, jobs: JobKit) -> None:
    for _ in range(2):
        assert (await post(client, {"number": 1}, query="key=again", headers={})).status_code == 201
        await jobs.drain()
    assert RUNS == [1, 1]


async def test_the_route_of_the_application_takes_the_header_too(client: httpx.AsyncClient, jobs: JobKit) -> None:
    for status in (201, 200):
        assert (await client.post("/process?user_id=1", headers=KEY)).status_code == status
    assert (await client.post("/process?user_id=2", headers=KEY)).status_code == 422
    assert len(jobs.all_enqueued()) == 1


async def test_what_keeps_the_key_has_its_own_time_where_redis_went_away_while_the_jobs_were_enqueued(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted, asked = EngineQueue.enqueue_many, []

    async def left_to_the_relay(queue: EngineQueue, *args: Any, **options: Any) -> Any:
        answers = await accepted(queue, *args, **options)
        note_silence(asyncio.get_running_loop().time() - queue.core.timings.answer)
        return answers

    def noting(seconds: float) -> Any:
        asked.append((seconds, is_silent()))
        return answering(seconds)

    monkeypatch.setattr(EngineQueue, "enqueue_many", left_to_the_relay)
    monkeypatch.setattr(idempotency, "answering", noting)
    assert (await post(client, {"number": 1}, name="keep")).status_code == 201
    assert asked[-1] == (AGAIN, False)
