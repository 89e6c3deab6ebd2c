"""Pages, and the way in, while Redis accepts connections and does not answer, and while it is gone."""

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest

from saqueduct.embedded.redis import EmbeddedRedis
from tests.console.conftest import ADMIN, Served
from tests.console.own_redis import own_redis, served_on, without
from tests.fixtures.kept_alive import KEPT_ALIVE

STATUSES = {
    **{f"/console{page}": 200 for page in ("", "/queues", "/workers", "/schedules", "/limits", "/audit", "/tasks")},
    "/console/job?key=ended": 200,
    "/console/task?name=echo&key=ended": 200,
    "/console/job?key=unknown": 503,
    "/saq/api/queues": 503,
    "/saq/api/queues/default": 503,
    "/saq/api/queues/default/jobs/ended": 503,
}
"""What each of them answers while Redis is away."""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with own_redis(tmp_path_factory.mktemp("away")) as redis:
        yield redis


@pytest.fixture(scope="module")
def served(redis: EmbeddedRedis, migrated_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An application with a Redis of its own, whose answers it awaits for a moment."""
    with served_on(redis, migrated_url, tmp_path_factory.mktemp("console"), answer=1.0) as served:
        yield served


@pytest.fixture(params=["hangs", "is gone"])
def away(request: pytest.FixtureRequest, redis: EmbeddedRedis, served: Served) -> Iterator[None]:
    """Redis hangs, or is gone, until the end of the test."""
    with without(redis, served, request.param):
        yield


async def answers(served: Served) -> dict[str, httpx.Response]:
    """The answers of all, asked at the same time."""
    async with httpx.AsyncClient(
        base_url=served.client.base_url, auth=ADMIN, timeout=60, limits=KEPT_ALIVE, trust_env=False
    ) as client:
        found = await asyncio.gather(*(client.get(path) for path in STATUSES))
        return dict(zip(STATUSES, found, strict=True))


def test_what_needs_no_redis_is_shown_and_the_rest_is_unavailable_and_no_error(served: Served, away: None) -> None:
    found = asyncio.run(answers(served))
    assert {path: answer.status_code for path, answer in found.items()} == STATUSES
    page = found["/console/job?key=ended"].text
    assert "Redis does not answer: this is what PostgreSQL keeps of the job." in page
    assert "Ended complete" in page
    assert "the job queue cannot be reached" in found["/console/job?key=unknown"].text


def test_a_person_signs_in_and_a_wrong_password_is_refused(served: Served, away: None) -> None:
    with httpx.Client(base_url=served.client.base_url, timeout=60, limits=KEPT_ALIVE, trust_env=False) as client:
        assert client.get("/console/queues", auth=(ADMIN[0], "wrong")).status_code == 401
        form = dict(
            re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', client.get("/console/login").text)
        )
        answer = client.post("/console/login", data={**form, "name": ADMIN[0], "password": ADMIN[1]})
        assert answer.status_code == 303
