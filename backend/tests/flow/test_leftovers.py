"""What limits keep in Redis goes when no job needs it any more."""

from typing import Any, cast

import pytest

from saqueduct import Concurrency, Context, EngineQueue, task
from saqueduct.testing import JobKit
from tests.flow.hands import Hands
from tests.flow.test_taking import leased, taker

pytestmark = pytest.mark.usefixtures("registry")

ONE = Concurrency(1, name="api")
GATE = "api\t"


async def left_of(queue: EngineQueue) -> set[str]:
    base = queue.namespace("flow:")
    return {key.decode().removeprefix(base) for key in await cast("Any", queue.redis).keys(f"{base}*")}


async def test_nothing_is_left_of_a_job_that_others_have_passed(queue: EngineQueue, hands: Hands, jobs: JobKit) -> None:
    @task(limits=(ONE,))
    async def whole(ctx: Context) -> None: ...

    takers = await leased(hands, taker(ONE), 2)
    first, second = ("1" * 16, "2" * 16)
    assert await hands.take(takers[0], GATE, first, ONE.rule) == "granted"
    await whole.enqueue()
    assert await hands.all() == []
    await hands.take(takers[1], GATE, second, ONE.rule)
    await hands.give(takers[0], first, GATE)
    # No worker has a slot, so the other one passes the job; then one has, and there is no room.
    jobs.travel(2.0)
    assert await hands.take(takers[1], GATE, second, ONE.rule) == "granted"
    assert await hands.all() == []
    await hands.give(takers[1], second, GATE)
    await hands.finish(*takers)
    await hands.finish(*await hands.all())
    assert await left_of(queue) <= {"limits", "declared", "turn", "begun", "checked"}
