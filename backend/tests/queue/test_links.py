"""What of a job who may see."""

import functools
import operator
import time
import uuid
from urllib.parse import urlsplit

import pytest

from saqueduct import Queues
from saqueduct.common.secret import Secret
from saqueduct.litestar.links import JobLinks, is_random
from saqueduct.tasks.job import random_key
from saqueduct.testing import JobKit
from tests.test_security import PASSWORD, application, basic

ADMIN = basic("admin", PASSWORD)


@pytest.fixture
def guarded(environment: dict[str, str], queues: Queues) -> dict[str, str]:
    return environment | {"ADMIN_PASSWORD": PASSWORD, "QUEUE_NAMES": "default"}


async def test_who_enqueued_a_job_sees_all_of_it_and_others_its_status(guarded: dict[str, str], jobs: JobKit) -> None:
    async with application(guarded) as client:
        enqueued = await client.post("/process?user_id=7")
        key = enqueued.json()["job_id"]
        await jobs.drain()
        status = (await client.get(f"/jobs/{key}")).json()
        assert (status["status"], status["task"], status["attempts"]) == ("complete", "my_task", 1)
        assert {"result", "error"} & set(status) == set()
        own = (await client.get(enqueued.headers["location"])).json()
        assert own == status | {"result": {"status": "success", "user_id": 7}, "error": None, "errors": []}
        of_admin = (await client.get(f"/jobs/{key}", headers=ADMIN)).json()
        assert own.items() <= of_admin.items()
        assert (of_admin["arguments"], of_admin["tags"], "worker" in of_admin) == ({"user_id": 7}, [], True)


async def test_of_a_chosen_key_others_do_not_see_even_whether_there_is_a_job(
    guarded: dict[str, str], queues: Queues
) -> None:
    await queues.enqueue("my_task", {"user_id": 1}, key="welcome:1")
    async with application(guarded) as client:
        answers = [await client.get(f"/jobs/{key}") for key in ("welcome:1", "welcome:2", "saq:job:default:welcome:1")]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.text for answer in answers}) == 1
        assert (await client.get("/jobs/welcome:1", headers=ADMIN)).json()["status"] == "queued"
        assert (await client.get("/jobs/welcome:2", headers=ADMIN)).status_code == 404


async def test_a_token_opens_its_job_only(guarded: dict[str, str], queues: Queues) -> None:
    for key in ("welcome:1", "welcome:2"):
        await queues.enqueue("my_task", {"user_id": 1}, key=key)
    links = JobLinks(Secret(guarded["SECRET_KEY"]))
    right = links.token("default", "welcome:1")
    async with application(guarded) as client:
        assert (await client.get("/jobs/welcome:1", params={"token": right})).json()["error"] is None
        for key, token in (
            ("welcome:2", right),
            ("welcome:1", right[:-1]),
            ("welcome:1", ""),
            ("welcome:1", "\xe4"),
            ("welcome:1", links.token("other", "welcome:1")),
            ("welcome:1", JobLinks(Secret("another")).token("default", "welcome:1")),
            ("welcome:3", right),
            (random_key(), right),
        ):
            assert (await client.get(f"/jobs/{key}", params={"token": token})).status_code == 401, (key, token)


async def test_a_token_opens_the_record_of_a_job_that_redis_has_forgotten(
    guarded: dict[str, str], queues: Queues, jobs: JobKit
) -> None:
    async with application(guarded) as client:
        location = (await client.post("/process?user_id=7")).headers["location"]
        await jobs.drain()
        await queues.get("default").redis.flushall()
        assert (await client.get(location)).json()["result"] == {"status": "success", "user_id": 7}
        assert "result" not in (await client.get(urlsplit(location).path)).json()


async def test_the_address_of_a_job_that_was_there_before_has_no_token(queues: Queues) -> None:
    links, key = JobLinks(Secret("secret")), "a/b \xe4"
    first, second = [await queues.enqueue("my_task", {"user_id": n}, key=key) for n in range(2)]
    assert links.location(first) == f"/jobs/a%2Fb%20%C3%A4?token={links.token('default', key)}"
    assert links.location(second) == "/jobs/a%2Fb%20%C3%A4"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tasks", 401),
        ("/queues", 401),
        ("/queues/default", 401),
        ("/schedules", 401),
        ("/jobs", 401),
        ("/dead-letters", 401),
        ("/saq/health", 401),
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/schema/openapi.json", 200),
    ],
)
async def test_what_all_may_read(guarded: dict[str, str], path: str, status: int) -> None:
    async with application(guarded) as client:
        assert (await client.get(path)).status_code == status
        assert (await client.get(path, headers=ADMIN)).status_code == 200


async def test_an_optional_route_is_no_way_to_guess_the_admins_password(guarded: dict[str, str]) -> None:
    async with application(guarded) as client:
        key = (await client.post("/process?user_id=7")).json()["job_id"]
        assert (await client.get(f"/jobs/{key}", headers=basic("admin", "wrong"))).status_code == 401
        users = {"authorization": "Bearer aaaa.bbbb.cccc"}
        assert "result" not in (await client.get(f"/jobs/{key}", headers=users)).json()


def test_keys_that_the_queue_makes_are_random_ones_and_no_others() -> None:
    keys = [*(random_key() for _ in range(100)), str(uuid.uuid4())]
    assert all(map(is_random, keys)), "those of version 4 are of earlier releases"
    for key in ("1", "welcome:1", "a" * 32, "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d", f"{random_key()}\n"):
        assert not is_random(str(key))


def test_a_random_key_is_a_uuid_that_begins_with_its_time() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(random_key()) for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert {(each.version, each.variant) for each in made} == {(7, uuid.RFC_4122)}
    assert all(before <= each.int >> 80 <= after for each in made)
    # All other bits are random: each is set in some of the keys, and not in others.
    fixed = 0xF << 76 | 0b11 << 62
    bits = (1 << 80) - 1 & ~fixed
    assert functools.reduce(operator.or_, (each.int for each in made)) & bits == bits
    assert functools.reduce(operator.and_, (each.int for each in made)) & bits == 0
