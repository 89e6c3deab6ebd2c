"""A Redis of an application's own, which hangs or is gone for a while."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from redis import Redis

from saqueduct.embedded.redis import EmbeddedRedis
from saqueduct.timings import ConsoleTimings, Timings
from tests.console.conftest import Served, config_of, serving
from tests.fixtures.poll import eventually_sync

How = Literal["hangs", "is gone"]


@contextmanager
def own_redis(directory: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(directory / "redis")
    server.start()
    yield server
    server.stop()


@contextmanager
def served_on(redis: EmbeddedRedis, database_url: str, directory: Path, answer: float) -> Iterator[Served]:
    """An application that awaits answers of this Redis for `answer` seconds; its job `ended` has ended."""
    config = config_of(redis.url, database_url, directory)
    config.timings = Timings(answer=answer, console=ConsoleTimings(answer=1.0))
    with serving(config) as served:
        served.enqueue("echo", key="ended")
        eventually_sync(lambda: "in Redis, recorded" in served.page("/job", key="ended"))
        yield served


@contextmanager
def without(redis: EmbeddedRedis, served: Served, how: How) -> Iterator[None]:
    """Redis hangs, or is gone, during a block; after it the application has noticed that it is back."""
    with Redis.from_url(redis.url) as client:
        process = client.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP if how == "hangs" else signal.SIGKILL)
    yield
    if how == "hangs":
        os.kill(process, signal.SIGCONT)
    else:
        redis.stop()
        redis.start()
    eventually_sync(lambda: "Redis does not answer." not in served.page(), within=60)
