"""Queues and schedules over HTTP: their state, pausing, resuming and triggering."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import create_app
from app.settings import load_settings
from saqueduct import Context, Queues, get_registry, scheduled_task
from saqueduct.testing import JobKit
from tests.conftest import running
from tests.fixtures.application import application
from tests.fixtures.schedules import RARELY

pytestmark = pytest.mark.usefixtures("own_tasks")

CHANGES = [
    "/queues/default/pause",
    "/queues/default/resume",
    "/schedules/sweep/pause",
    "/schedules/sweep/resume",
    "/schedules/sweep/trigger",
]


@pytest.fixture(autouse=True)
def sweep(own_tasks: None) -> None:
    @scheduled_task(every=RARELY, kwargs={"days": 7})
    async def sweep(ctx: Context, *, days: int = 1) -> int:
        return days


async def test_a_queue_tells_its_numbers(client: httpx.AsyncClient, queues: Queues) -> None:
    for delay in (0.0, 60.0):
        await queues.enqueue("my_task", {"user_id": 1}, scheduled=int(await _time(queues) + delay) if delay else 0)
    await queues.get("default").worker_info("w1", queue_key="default")
    view = {"name": "default", "queued": 1, "active": 0, "scheduled": 1, "workers": 1, "paused": None}
    assert (await client.get("/queues")).json() == [view]
    assert (await client.get("/queues/default")).json() == view


@pytest.mark.parametrize(
    ("body", "by", "why"),
    [
        ({}, "admin", ""),
        ({"json": {"why": "mail is down"}}, "admin", "mail is down"),
        ({"json": {"by": "ada"}}, "ada", ""),
    ],
)
async def test_a_queue_is_paused_and_resumed(
    client: httpx.AsyncClient, queues: Queues, jobs: JobKit, body: dict[str, Any], by: str, why: str
) -> None:
    answer = await client.post("/queues/default/pause", **body)
    assert answer.status_code == 200
    pause = answer.json()["paused"]
    assert (pause["by"], pause["why"]) == (by, why)
    assert abs(pause["since"] - await _time(queues)) < 10
    pause_now = await queues.get("default").paused()
    assert pause_now is not None
    assert pause_now.since == pause["since"]
    assert (await client.get("/health/ready")).json()["paused"] == ["default"]
    for _ in range(2):
        resumed = await client.post("/queues/default/resume")
        assert (resumed.status_code, resumed.json()["paused"]) == (200, None)
    assert await queues.get("default").paused() is None
    assert (await client.get("/health/ready")).json()["paused"] == []


async def test_a_schedule_is_paused_resumed_and_triggered(client: httpx.AsyncClient, jobs: JobKit) -> None:
    async def standing() -> dict[str, Any]:
        schedules: list[dict[str, Any]] = (await client.get("/schedules")).json()
        return next(each for each in schedules if each["key"] == "sweep")

    assert await standing() == {
        "key": "sweep",
        "task": "sweep",
        "queue": "default",
        "timing": f"every {RARELY} s",
        "next_tick": None,
        "last_job": None,
        "paused": None,
    }
    paused = await client.post("/schedules/sweep/pause", json={"why": "a bug", "by": "ada"})
    assert (paused.status_code, paused.json()) == (200, await standing())
    assert (paused.json()["paused"]["by"], paused.json()["paused"]["why"]) == ("ada", "a bug")
    triggered = await client.post("/schedules/sweep/trigger")
    key = triggered.json()["job_id"]
    assert (triggered.status_code, triggered.headers["location"].partition("?")[0]) == (201, f"/jobs/{key}")
    again = await client.post("/schedules/sweep/trigger")
    assert (again.status_code, again.json()) == (200, {"job_id": key, "key": key, "created": False})
    resumed = await client.post("/schedules/sweep/resume")
    assert (resumed.status_code, resumed.json()["paused"], resumed.json()["last_job"]) == (200, None, key)
    await jobs.drain()
    assert (await client.get(f"/jobs/{key}")).json()["result"] == 7


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/pause"), ("POST", "/resume")])
async def test_an_unknown_queue_is_404_with_those_there_are(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, f"/queues/no{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-queue")
    assert answer.json()["known"] == ["default"]
    assert "there is no queue 'no'; there are: default" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["pause", "resume", "trigger"])
async def test_an_unknown_schedule_is_404_with_those_there_are(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(f"/schedules/no/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-schedule")
    keys = [schedule.key for task in get_registry().get_all_tasks() for schedule in task.schedules]
    assert answer.json()["known"] == keys


async def test_a_body_that_is_none_is_400(client: httpx.AsyncClient, queues: Queues) -> None:
    for body in (b'{"why": 1}', b"[]", b"{no json"):
        answer = await client.post("/queues/default/pause", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
    assert await queues.get("default").paused() is None


@pytest.mark.parametrize("path", CHANGES)
async def test_changes_are_the_admins(environment: dict[str, str], queues: Queues, engine: object, path: str) -> None:
    guarded = application(load_settings(environment | {"ADMIN_TOKEN": "t" * 40}))
    transport = httpx.ASGITransport(guarded, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with (
        running(guarded),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        assert (await client.post(path)).status_code == 401
        assert (await client.post(path, headers={"Authorization": f"Bearer {'t' * 40}"})).status_code in {200, 201}


async def test_with_redis_away_the_answer_is_503(environment: dict[str, str], engine: object, tmp_path: Path) -> None:
    lonely = create_app(load_settings(environment | {"REDIS_URL": f"unix://{tmp_path}/nobody.sock"}))
    transport = httpx.ASGITransport(lonely, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with (
        running(lonely),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        reads = [await client.get(path) for path in ("/queues", "/queues/default", "/schedules")]
        changes = [await client.post(path) for path in CHANGES]
        assert {answer.status_code for answer in (*reads, *changes)} == {503}


async def _time(queues: Queues) -> float:
    return await queues.get("default").time()
