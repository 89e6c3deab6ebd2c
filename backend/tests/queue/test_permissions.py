"""A user of Redis with few permissions: enough of them, and too few."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import redis
from dishka import AsyncContainer
from saq.job import Status

from app.settings import Settings, load_settings
from saqueduct import Context, EngineQueue, Queues, QueueUnavailable, task
from saqueduct.broker.connections import Connections
from saqueduct.broker.outage import PERMISSIONS
from tests.docs.reading import REPOSITORY
from tests.fixtures.composition import build_queues
from tests.queue.kit import status, working

Narrow = Callable[..., str]

pytestmark = pytest.mark.usefixtures("own_tasks")


@pytest.fixture
def narrow(redis_url: str, empty_redis: None) -> Iterator[Narrow]:
    """Makes a user of these rules; returns the URL by which it connects."""
    with redis.Redis.from_url(redis_url) as client:

        def make(*rules: str) -> str:
            client.execute_command("ACL", "SETUSER", "narrow", "reset", "resetchannels", "on", ">secret", *rules)
            return f"unix://narrow:secret@{urlsplit(redis_url).path}"

        yield make
        client.acl_deluser("narrow")


async def test_the_documented_rules_serve_producers_and_workers(
    environment: dict[str, str], narrow: Narrow, settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def double(ctx: Context, number: int) -> int:
        return 2 * number

    limited = load_settings({**environment, "REDIS_URL": narrow(*PERMISSIONS.split())})
    theirs = build_queues(limited)
    await theirs.connect()
    try:
        async with working(limited, theirs, container, schedules=False):
            job = await theirs.enqueue("double", {"number": 4})
            done = await status(theirs, job, Status.COMPLETE)
        assert done.result == 8
        await theirs.get("default").pause("me", "why")
        assert (await theirs.get("default").stats()).paused
        assert await theirs.get("default").resume()
    finally:
        await theirs.disconnect()


@pytest.mark.parametrize("rules", [[*PERMISSIONS.split(), "-zadd"], ["+@read", "~saq:*"], ["+@all", "~other:*"]])
async def test_a_missing_permission_is_named_with_the_rules_to_give(narrow: Narrow, rules: list[str]) -> None:
    queue = EngineQueue(Connections(narrow(*rules)).client("default"), "default")
    await queue.connect()
    try:
        with pytest.raises(QueueUnavailable, match=r"denies its user.*Give the user these rules: \+@all -@admin"):
            await queue.enqueue("anything")
    finally:
        await queue.disconnect()


def test_the_page_lists_the_rules() -> None:
    page = (REPOSITORY / "docs/how-to/connect-to-redis.md").read_text()
    [line] = [line for line in page.splitlines() if line.startswith("ACL SETUSER")]
    assert set(PERMISSIONS.split()) <= set(line.split())
