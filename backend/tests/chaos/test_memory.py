"""The short forms of the memory runs."""

from collections.abc import Iterator

import pytest

from app.queue import get_registry


@pytest.fixture(autouse=True)
def ledger() -> Iterator[None]:
    with get_registry().isolated():
        from tests.chaos.ledger import durable_entry, durable_with_session, entry

        for each in (entry, durable_entry, durable_with_session):
            if each.name not in get_registry():
                get_registry().add(each)
        yield


async def test_what_committed_runs_once_wherever_its_producer_dies(migrated_url: str) -> None:
    from tests.chaos.memory import run_outbox

    verdict = await run_outbox(migrated_url, 10, lambda _: None)
    assert verdict.faults == []
    assert verdict.committed >= 20


async def test_durable_jobs_end_once_though_redis_forgets_all(migrated_url: str) -> None:
    from tests.chaos.memory import run_durable

    verdict = await run_durable(migrated_url, 1000, 2, seed=3, report=lambda _: None)
    assert verdict.faults == []
