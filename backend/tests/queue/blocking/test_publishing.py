"""Publishing while Redis is away."""

import asyncio
from typing import Any

import pytest

from app.queue.catalog import TasksRegistry
from app.settings import load_settings
from app.shell import open_container
from saqueduct import Queues, QueueUnavailable
from saqueduct.tasks.blocking.publishing import PublishPauses


class Away:
    """Stands for a Redis that does not answer some tries; counts them."""

    def __init__(self, queues: Queues, patch: pytest.MonkeyPatch, failures: int) -> None:
        queue = queues.get("default")
        enqueue_many = queue.enqueue_many
        self.keys: list[str] = []

        async def fails_at_first(jobs: Any, *others: Any) -> Any:
            self.keys += [job.key for job in jobs]
            if len(self.keys) <= failures:
                raise QueueUnavailable("away")
            return await enqueue_many(jobs, *others)

        patch.setattr(queue, "enqueue_many", fails_at_first)


async def test_publishing_is_tried_again_by_the_policy(
    registry: TasksRegistry, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(queues, monkeypatch, failures=2)
    policy: Any = {"max_retries": 2, "interval_start": 0, "interval_step": 0.01, "interval_max": 0.01}
    result = await asyncio.to_thread(registry.ping.apply_async, retry_policy=policy)
    # One key in all tries: should the first have arrived after all, there is still one job.
    assert away.keys == [result.id] * 3


@pytest.mark.parametrize(("options", "tries"), [({"retry": False}, 1), ({"retry_policy": {"max_retries": 1}}, 2)])
async def test_publishing_gives_up_by_the_policy(
    registry: TasksRegistry, queues: Queues, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], tries: int
) -> None:
    away = Away(queues, monkeypatch, failures=9)
    with pytest.raises(QueueUnavailable):
        await asyncio.to_thread(registry.ping.apply_async, **options)
    assert len(away.keys) == tries


async def test_delay_tries_as_often_as_celery_does(
    registry: TasksRegistry, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(queues, monkeypatch, failures=9)
    with pytest.raises(QueueUnavailable):
        await asyncio.to_thread(registry.ping.delay)
    assert len(away.keys) == 4


def test_pauses_grow_by_the_step_up_to_the_maximum() -> None:
    assert list(PublishPauses(max_retries=4, interval_start=1, interval_step=2, interval_max=4)) == [1, 3, 4, 4]
    assert list(PublishPauses()) == pytest.approx([0.0, 0.2, 0.2])
    endless = iter(PublishPauses(max_retries=None))
    assert [next(endless) for _ in range(50)][-1] == pytest.approx(0.2)


def test_without_a_redis_the_call_says_so(environment: dict[str, str]) -> None:
    settings = load_settings(environment | {"REDIS_URL": "redis://127.0.0.1:1"})
    with open_container(settings) as container:
        registry = container.get(TasksRegistry)
        with pytest.raises(QueueUnavailable, match="cannot be reached"):
            registry.ping.apply_async(retry=False)
