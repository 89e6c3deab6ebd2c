"""Durable jobs over HTTP while Redis accepts connections and does not answer: one outage costs one time limit."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from saqueduct import Context, TaskRegistry
from saqueduct.litestar import idempotency
from saqueduct.timings import Timings
from tests.console.conftest import Served, config_of, serving
from tests.console.own_redis import own_redis, without

ANSWER = 3.0
"""Seconds that Redis has to answer."""


@pytest.fixture(scope="module")
def served(migrated_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An application whose Redis hangs."""
    registry = TaskRegistry()

    @registry.task(durable=True)
    async def keep(ctx: Context, *, number: int = 0) -> None: ...

    directory: Path = tmp_path_factory.mktemp("durable")
    with own_redis(directory) as redis:
        config = config_of(redis.url, migrated_url, directory)
        config.registry, config.run_workers, config.timings = registry, "separate", Timings(answer=ANSWER)
        with serving(config) as served:
            # The clock of Redis is known, and the password.
            assert served.client.post("/queue/tasks/keep", json={}).status_code == 201
            with without(redis, served, "hangs"):
                yield served


@pytest.mark.parametrize("path", ["keep", "keep/batch"])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "import-7"}], ids=["without key", "with key"])
def test_it_is_accepted_after_the_time_of_one_answer(
    served: Served, path: str, headers: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "AGAIN", 0.1)
    began = time.monotonic()
    answer = served.client.post(f"/queue/tasks/{path}", json={} if path == "keep" else [{}, {}], headers=headers)
    assert answer.status_code == 201
    assert time.monotonic() - began < 2 * ANSWER - 0.5
