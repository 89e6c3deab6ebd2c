"""The short forms of chaos runs."""

import pytest

from tests.chaos.plans import CLASSIC, DURABLE, Plan
from tests.chaos.run import run

pytestmark = pytest.mark.long

SHORT = Plan(
    name="short",
    faults={
        "kill": 1, "deploy": 1,
        "restart redis": 1, "pause redis": 1, "cut redis": 1, "fill redis": 1,
        "restart postgres": 1, "cut postgres": 1, "lock records": 1,
        "block loop": 1, "hang threads": 1, "swallow cancellations": 1,
        "kill producer": 5,
    },
    kinds={**CLASSIC, **DURABLE, "entry": 3, "feature": 3},
    jobs=800,
    rate=60.0,
    seed=4,
    workers=2,
    together=True,
)  # fmt: skip

WIPED = Plan(
    name="wiped", faults={"flush redis": 1, "wipe redis": 1}, kinds=DURABLE, jobs=800, rate=200.0, seed=3, workers=2
)


@pytest.mark.parametrize("plan", [SHORT, WIPED], ids=lambda plan: plan.name)
async def test_nothing_is_lost_or_done_twice_whatever_is_hurt(plan: Plan) -> None:
    verdict = await run(plan, lambda _: None)
    assert verdict.faults == {}
    assert verdict.figures["jobs acknowledged"] >= plan.jobs * 0.5
