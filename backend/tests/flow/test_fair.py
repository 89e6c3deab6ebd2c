"""Fair tasks: the values of an argument take turns."""

from typing import Any

import pytest

from saqueduct import Concurrency, Context, EngineQueue, Fair, RegistrationError, task
from saqueduct.tasks.job_meta import LIMITS
from tests.flow.hands import Hands

pytestmark = pytest.mark.usefixtures("registry")


def tenants(jobs: list[Any]) -> list[int]:
    return [job.kwargs["tenant"] for job in jobs]


def fair(option: Any = "tenant", *limits: Any) -> Any:
    @task(fair=option, limits=limits)
    async def work(ctx: Context, *, tenant: int, account: int = 0) -> None: ...

    return work


async def test_a_tenant_with_many_jobs_delays_others_by_one_turn(queue: EngineQueue, hands: Hands) -> None:
    work = fair()
    await queue.enqueue_many([work.job({"tenant": 0}) for _ in range(200)])
    await hands.lease(3)
    await queue.enqueue_many([work.job({"tenant": tenant}) for tenant in range(1, 21)])
    started = tenants([job for _ in range(22) for job in await hands.lease(1)])
    assert set(started) == set(range(21))
    assert started.count(0) <= 2


async def test_the_jobs_of_a_tenant_start_in_order(queue: EngineQueue, hands: Hands) -> None:
    work = fair()
    jobs = [work.job({"tenant": n % 2, "account": n}) for n in range(8)]
    await queue.enqueue_many(jobs)
    started = await hands.all(3)
    for tenant in range(2):
        mine = [job.key for job, of in zip(started, tenants(started), strict=True) if of == tenant]
        assert mine == [job.key for job in jobs[tenant::2]]


async def test_a_tenant_with_many_limits_has_one_turn(queue: EngineQueue, hands: Hands) -> None:
    work = fair("tenant", Concurrency(1, by="account"))
    await queue.enqueue_many([work.job({"tenant": 0, "account": account}) for account in range(50)])
    await queue.enqueue_many([work.job({"tenant": 1, "account": 99}) for _ in range(2)])
    first = [job for _ in range(4) for job in await hands.lease(1)]
    assert tenants(first).count(1) == 1
    await hands.finish(*first)
    assert 1 in tenants([job for _ in range(4) for job in await hands.lease(1)])


async def test_a_tenant_whose_limits_are_full_loses_no_job(queue: EngineQueue, hands: Hands) -> None:
    work = fair("tenant", Concurrency(1, by="account"), Concurrency(3, name="all"))
    await queue.enqueue_many([work.job({"tenant": n % 2, "account": n % 5}) for n in range(40)])
    ended = 0
    while running := await hands.all():
        assert len(running) <= 3
        await hands.finish(*running)
        ended += len(running)
    assert ended == 40
    assert await queue.redis.keys(queue.namespace("flow:line:*")) == []
    assert await queue.redis.exists(queue.namespace("flow:turns")) == 0


async def test_weights_are_jobs_of_a_turn(queue: EngineQueue, hands: Hands) -> None:
    work = fair(Fair("tenant", weights={1: 4}))
    for tenant in range(3):
        await queue.enqueue_many([work.job({"tenant": tenant}) for _ in range(40)])
    started = tenants(await hands.lease(30))
    assert [started.count(tenant) for tenant in range(3)] == [5, 20, 5]


async def test_a_sweep_repairs_a_line_whose_turn_is_lost(queue: EngineQueue, hands: Hands) -> None:
    work = fair("tenant", Concurrency(1, by="account"))
    await queue.enqueue_many([work.job({"tenant": 0, "account": account}) for account in range(3)])
    await queue.redis.delete(queue.namespace("flow:ring:normal"), queue.namespace("flow:turns"))
    await queue.sweep()
    assert len(await hands.all()) == 3


def test_the_key_hides_secrets() -> None:
    @task(fair=Fair(("tenant", "token"), weights={(1, "x"): 3}), redact=("token",))
    async def secret(ctx: Context, *, tenant: int, token: str) -> None: ...

    [[_, key, rule]] = secret.job({"tenant": 1, "token": "x"}).meta[LIMITS]
    assert key.startswith("1,")
    assert key.endswith("\t3")
    assert '"x"' not in key
    assert rule == ""


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda: Fair(()), 'fair="tenant_id"', id="nothing"),
        pytest.param(lambda: Fair(["tenant"]), 'fair="tenant_id"', id="list"),  # type: ignore[arg-type]
        pytest.param(lambda: Fair("tenant", weights=[1]), "takes a mapping", id="no mapping"),  # type: ignore[arg-type]
        pytest.param(lambda: Fair("tenant", weights={1: 0}), r"weights\[1\] must be at least 1", id="no weight"),
        pytest.param(lambda: Fair("tenant", weights={1: 1001}), "at most 1,000", id="too heavy"),
        pytest.param(lambda: fair("tenants"), "names tenants, which are not arguments", id="unknown"),
        pytest.param(lambda: fair(3), 'fair="tenant_id"', id="number"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, says: str) -> None:
    with pytest.raises((ValueError, RegistrationError), match=says):
        make()
