"""The events of a job over HTTP."""

import asyncio
import json
from functools import partial
from typing import Any, cast

import httpx
import msgspec
import pytest

from saqueduct import Context, EngineQueue, Queues, task
from saqueduct.litestar.routes.job_events import events
from saqueduct.litestar.routes.listeners import LISTENING
from saqueduct.litestar.routes.views import JobView
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.queue.kit import filled
from tests.test_security import PASSWORD, application, basic


def events_in(stream: str) -> list[tuple[str, Any]]:
    """Names and data of the events in a stream."""
    found = []
    for message in stream.replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in message.splitlines())
        found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_each_step_of_a_job_is_an_event(queues: Queues, jobs: JobKit, own_tasks: None) -> None:
    go_on = asyncio.Event()

    @task
    async def steps(ctx: Context) -> str:
        await ctx["job"].update(progress=0.5)
        await go_on.wait()
        return "done"

    job = await queues.enqueue("steps")
    stream = cast("Any", events(cast("EngineQueue", job.queue), JobView.of(job)))
    first = await anext(stream)
    assert (first.event, json.loads(first.data)["status"]) == ("status", "queued")
    async with jobs.working():
        while True:
            message = await anext(stream)
            if json.loads(message.data)["progress"] == 0.5:
                break
        go_on.set()
        *_, last = [message async for message in stream]
    assert (last.event, json.loads(last.data)["result"]) == ("end", "done")


async def test_a_stream_ends_with_its_job(client: httpx.AsyncClient, jobs: JobKit) -> None:
    key = (await client.post("/process?user_id=7")).json()["key"]
    stream = asyncio.create_task(client.get(f"/jobs/{key}/events"))
    await eventually(lambda: LISTENING.inside == 1)
    async with jobs.working():
        answer = await stream
    assert answer.headers["content-type"].startswith("text/event-stream")
    steps = events_in(answer.text)
    assert (steps[0][0], steps[0][1]["status"]) == ("status", "queued")
    name, job = steps[-1]
    assert (name, job["status"], job["key"]) == ("end", "complete", key)
    assert LISTENING.inside == 0


async def test_a_job_that_has_ended_has_one_event(client: httpx.AsyncClient, jobs: JobKit) -> None:
    key = (await client.post("/process?user_id=7")).json()["key"]
    await jobs.drain()
    [(name, job)] = events_in((await client.get(f"/jobs/{key}/events")).text)
    assert (name, job["result"]) == ("end", {"status": "success", "user_id": 7})


async def test_a_job_that_is_kept_nowhere_ends_as_well(
    client: httpx.AsyncClient, queues: Queues, jobs: JobKit, own_tasks: None
) -> None:
    @task(ttl=-1, record="none")
    async def fleeting(ctx: Context) -> None: ...

    key = (await client.post("/tasks/fleeting")).json()["key"]
    stream = asyncio.create_task(client.get(f"/jobs/{key}/events"))
    await eventually(partial(_is_listened_to, queues))
    async with jobs.working():
        name, job = events_in((await stream).text)[-1]
    assert (name, job["status"]) == ("end", "complete")


async def _is_listened_to(queues: Queues) -> bool:
    """Whether Redis has a subscription to a job."""
    return bool(await queues.get("default").redis.pubsub_channels("saq:job:default:*"))


@pytest.mark.parametrize("seen", ["queued", "new"])
async def test_a_stream_ends_when_its_job_is_gone_before_it_listens(
    queues: Queues, jobs: JobKit, own_tasks: None, seen: str
) -> None:
    @task(ttl=-1, record="none")
    async def fleeting(ctx: Context) -> None: ...

    job = await queues.enqueue("fleeting")
    view = msgspec.structs.replace(JobView.of(job), status=seen)
    await jobs.drain()
    stream = events(cast("EngineQueue", job.queue), view, tick=0.01)
    assert [message.event for message in [each async for each in stream] if not message.comment] == ["status"]


async def test_events_are_for_the_admin_and_who_has_the_token(environment: dict[str, str], jobs: JobKit) -> None:
    guarded = environment | {"ADMIN_PASSWORD": PASSWORD, "QUEUE_NAMES": "default"}
    async with application(guarded) as client:
        enqueued = await client.post("/process?user_id=7")
        await jobs.drain()
        path, _, token = enqueued.headers["location"].partition("?")
        assert (await client.get(f"{path}/events")).status_code == 401
        assert (await client.get(f"{path}/events?{token[:-1]}")).status_code == 401
        assert (await client.get(f"{path}/events?{token}")).status_code == 200
        assert (await client.get(f"{path}/events", headers=basic("admin", PASSWORD))).status_code == 200


async def test_there_is_no_stream_without_a_job(client: httpx.AsyncClient) -> None:
    assert (await client.get("/jobs/nope/events")).status_code == 404


async def test_only_so_many_listen(client: httpx.AsyncClient) -> None:
    key = (await client.post("/process?user_id=7")).json()["key"]
    with filled(LISTENING):
        answer = await client.get(f"/jobs/{key}/events")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_a_silent_stream_says_that_it_lives_and_who_leaves_gives_up_the_place(queues: Queues) -> None:
    job = await queues.enqueue("my_task", {"user_id": 1})
    stream = cast("Any", events(cast("EngineQueue", job.queue), JobView.of(job), tick=0.01))
    assert (await anext(stream)).event == "status"
    assert (await anext(stream)).comment
    assert LISTENING.inside == 1
    await stream.aclose()
    assert LISTENING.inside == 0
