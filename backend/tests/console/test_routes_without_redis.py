"""Each route of the console, the HTTP API and SAQ's UI while Redis accepts connections and does not answer, and while
it is gone: none hangs, and none answers 500."""

import asyncio
import re
import time
from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from saqueduct.console.assets import name_of
from saqueduct.embedded.redis import EmbeddedRedis
from saqueduct.litestar import SaqueductPlugin
from tests.console.conftest import ADMIN, Served, config_of
from tests.console.own_redis import own_redis, served_on, without
from tests.fixtures.kept_alive import KEPT_ALIVE

ANSWER = 3.0
"""Seconds that Redis gets in all for one request."""

LATE = 2.5
"""Seconds that a busy machine may add, with those that a call gets once more where the event loop was blocked."""

AT_ONCE = 10
"""Requests at the same time: as many as a network may have, and no more than the machine can carry."""

STEP = 0.01
"""Seconds between two looks at how late this process is."""

SELECTED = ['["default","ended"]', '["default","nowhere"]', '["reports","nowhere"]']
JOB = {"key": "ended", "queue": "default"}
SCHEDULE = {"schedule": "weekly"}


class Call(NamedTuple):
    """A request, and how it may be answered."""

    statuses: tuple[int, ...] = (503,)
    fields: Mapping[str, Any] = MappingProxyType({})
    """Of the path; further ones of the console's form or query."""
    body: Any = None
    """JSON."""


PAGE = Call((200,))
CALLS: dict[str, Call] = {
    # What changes nothing in Redis works without it: PostgreSQL has the dead letters and the outbox.
    "POST /console/look": Call((303,), {"theme": "dark"}),
    "POST /console/logout": Call((303,)),
    # The form of the page is that of the browser, see `test_redis_away`.
    "POST /console/login": Call((403,)),
    "POST /console/jobs/all": Call((303,), {"action": "retry", "task": "echo", "count": "1"}),
    "POST /console/dead-letters/replay": Call((303,), {"task": "echo"}),
    "POST /console/dead-letters/discard": Call((303,), {"task": "echo"}),
    "POST /console/job/discard": Call((303,), JOB),
    "POST /console/jobs/change": Call(fields={"action": "abort", "selected": SELECTED}),
    # Of this and the console's one waits at a time.
    "POST /queue/dead-letters/replay": Call((202, 409), body={"which": {"task": "echo"}}),
    "POST /queue/dead-letters/{key:str}/replay": Call((404, 202), JOB, {}),
    "DELETE /queue/dead-letters/{key:str}": Call((404,), JOB),
    "POST /console/job/retry": Call(fields=JOB),
    "POST /console/job/abort": Call(fields=JOB),
    "POST /console/task/enqueue": Call(fields={"name": "echo"}),
    "POST /console/queues/pause": Call(fields={"queue": "reports"}),
    "POST /console/queues/resume": Call(fields={"queue": "reports"}),
    "POST /console/workers/pause": Call(fields={"worker": "any"}),
    "POST /console/workers/resume": Call(fields={"worker": "any"}),
    "POST /console/schedules/run": Call(fields=SCHEDULE),
    "POST /console/schedules/pause": Call(fields=SCHEDULE),
    "POST /console/schedules/resume": Call(fields=SCHEDULE),
    "POST /console/limits/set": Call(fields={"limit_name": "provider", "limit": "5", "per": "10"}),
    "POST /console/limits/reset": Call(fields={"limit_name": "provider"}),
    "DELETE /queue/jobs/{key:str}": Call(fields=JOB),
    "POST /queue/jobs/{key:str}/retry": Call(fields=JOB),
    "POST /queue/tasks/{name:str}": Call(fields={"name": "echo"}, body={}),
    "POST /queue/tasks/{name:str}/batch": Call(fields={"name": "echo"}, body=[{}, {}]),
    "POST /queue/queues/{name:str}/pause": Call(fields={"name": "reports"}),
    "POST /queue/queues/{name:str}/resume": Call(fields={"name": "reports"}),
    "POST /queue/schedules/{key:str}/pause": Call(fields={"key": "weekly"}),
    "POST /queue/schedules/{key:str}/resume": Call(fields={"key": "weekly"}),
    "POST /queue/schedules/{key:str}/trigger": Call(fields={"key": "weekly"}),
    "PUT /queue/limits/{name:str}": Call(fields={"name": "provider"}, body={"limit": 5, "per": 10}),
    "POST /queue/limits/{name:str}/reset": Call(fields={"name": "provider"}),
    "POST /queue/workers/{worker:str}/pause": Call(fields={"worker": "any"}),
    "POST /queue/workers/{worker:str}/resume": Call(fields={"worker": "any"}),
    "POST /saq/api/queues/{queue_id:str}/jobs/{job_id:str}/retry": Call(
        fields={"queue_id": "default", "job_id": "ended"}
    ),
    "POST /saq/api/queues/{queue_id:str}/jobs/{job_id:str}/abort": Call(
        fields={"queue_id": "default", "job_id": "ended"}
    ),
    **dict.fromkeys(
        (f"GET /console{path}" for path in ("", "/queues", "/workers", "/schedules", "/limits", "/tasks", "/audit")),
        PAGE,
    ),
    **dict.fromkeys(
        (f"GET /console{path}" for path in ("/jobs", "/dead-letters", "/dead-letters/all", "/login")), PAGE
    ),
    "GET /console/jobs/export.csv": PAGE,
    "GET /console/jobs/export.jsonl": PAGE,
    "GET /console/jobs/all": Call(fields={"action": "abort"}),
    "GET /console/job": Call((200,), JOB),
    "GET /console/task": Call((200,), {"name": "echo"}),
    "GET /console/static/{name:str}": Call((200,), {"name": name_of("icon.svg")}),
    "GET /console/live": PAGE,
    "GET /console/menu": PAGE,
    "GET /console/{unknown:path}": Call((404,), {"unknown": "nothing"}),
    "GET /queue/health/live": PAGE,
    "GET /queue/health/ready": Call(),
    "GET /queue/jobs": PAGE,
    "GET /queue/jobs/{key:str}": Call(fields=JOB),
    "GET /queue/jobs/{key:str}/events": Call(fields=JOB),
    "GET /queue/jobs/{key:str}/history": Call((200,), JOB),
    "GET /queue/queues": Call(),
    "GET /queue/queues/{name:str}": Call(fields={"name": "default"}),
    "GET /queue/queues/{name:str}/scale": Call(fields={"name": "default"}),
    "GET /queue/schedules": Call(),
    "GET /queue/limits": Call(),
    "GET /queue/limits/{name:str}": Call(fields={"name": "provider"}),
    "GET /queue/workers": Call(),
    **dict.fromkeys(
        (f"GET /queue/{path}" for path in ("audit", "history", "history/tasks", "tasks", "dead-letters")), PAGE
    ),
    "GET /saq": Call((307,)),
    "GET /saq/health": Call(),
    "GET /saq/static/{name:str}": Call((200,), {"name": "app.js"}),
    "GET /saq/queues/{queue_id:str}": Call((200,), {"queue_id": "default"}),
    "GET /saq/queues/{queue_id:str}/jobs/{job_id:str}": Call((200,), {"queue_id": "default", "job_id": "ended"}),
    "GET /saq/api/queues": Call(),
    "GET /saq/api/queues/{queue_id:str}": Call(fields={"queue_id": "default"}),
    "GET /saq/api/queues/{queue_id:str}/jobs/{job_id:str}": Call(fields={"queue_id": "default", "job_id": "ended"}),
}
# Addresses that only take forms show a page with a way back.
FORMS = [route.removeprefix("POST ") for route in CALLS if route.startswith("POST /console")]
CALLS |= {f"GET {path}": Call((405,)) for path in FORMS if f"GET {path}" not in CALLS}


class Answer(NamedTuple):
    """How a route answered."""

    status: int
    seconds: float
    """Without those for which this process did not get to compute."""
    text: str


class Clock:
    """The time without that for which this event loop was late, in another thread than the server: a machine with other
    work lets both wait, and a server that hangs does not.
    """

    def __init__(self) -> None:
        self._late = 0.0

    def now(self) -> float:
        return time.monotonic() - self._late

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(STEP)
            self._late += time.monotonic() - began - STEP


def test_the_table_has_every_route(tmp_path: Path) -> None:
    config = config_of("redis://unused", "postgresql://unused/unused", tmp_path)
    app = Litestar([], plugins=[SaqueductPlugin(config)], logging_config=None, openapi_config=None)
    handlers = [
        (route.path, each) for route in app.routes if isinstance(route, HTTPRoute) for each in route.route_handlers
    ]
    found = {f"{method} {path}" for path, each in handlers for method in each.http_methods - {"OPTIONS", "HEAD"}}
    assert found == CALLS.keys()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with own_redis(tmp_path_factory.mktemp("routes")) as redis:
        yield redis


@pytest.fixture(scope="module")
def served(redis: EmbeddedRedis, migrated_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_on(redis, migrated_url, tmp_path_factory.mktemp("console"), answer=ANSWER) as served:
        yield served


@pytest.fixture(params=["hangs", "is gone"])
def away(request: pytest.FixtureRequest, redis: EmbeddedRedis, served: Served) -> Iterator[str]:
    """The token of the admin's forms, while Redis hangs or is gone, until the end of the test."""
    found = re.search(r'name="token" value="([^"]+)"', served.page("/queues"))
    assert found is not None
    with without(redis, served, request.param):
        yield unescape(found[1])


async def answer_of(
    client: httpx.AsyncClient, route: str, token: str, places: asyncio.Semaphore, clock: Clock
) -> Answer:
    """The status and the beginning of what a route answers; a stream is not read to its end."""
    method, path = route.split(" ")
    call, used = CALLS[route], set[str]()

    def value(found: re.Match[str]) -> str:
        used.add(found[1])
        return str(call.fields[found[1]])

    path = re.sub(r"{(\w+):(?:str|path)}", value, path)
    further = {name: each for name, each in call.fields.items() if name not in used}
    sent: dict[str, Any] = {} if call.body is None else {"json": call.body}
    if path.startswith("/console"):
        sent = {"params": further} if method == "GET" else {"data": {"token": token, **further}}
    async with places:
        began = clock.now()
        async with client.stream(method, path, **sent) as answer:
            seconds = clock.now() - began
            stream = answer.headers.get("content-type", "").startswith("text/event-stream")
            return Answer(answer.status_code, seconds, "" if stream else (await answer.aread()).decode()[:300])


async def answers(served: Served, token: str) -> dict[str, Answer]:
    places, clock = asyncio.Semaphore(AT_ONCE), Clock()
    running = asyncio.create_task(clock.run())
    async with httpx.AsyncClient(
        base_url=served.client.base_url, auth=ADMIN, timeout=60, limits=KEPT_ALIVE, trust_env=False
    ) as client:
        found = await asyncio.gather(*(answer_of(client, route, token, places, clock) for route in CALLS))
    running.cancel()
    return dict(zip(CALLS, found, strict=True))


@pytest.mark.long
def test_each_route_answers_in_time_and_as_it_should(served: Served, away: str) -> None:
    found = asyncio.run(answers(served, away))
    assert {route: answer for route, answer in found.items() if answer.status not in CALLS[route].statuses} == {}
    assert {route: answer for route, answer in found.items() if answer.seconds > ANSWER + LATE} == {}
