"""Plans: which jobs a chaos run enqueues, and which faults come how often meanwhile."""

import dataclasses
import random
from collections.abc import Mapping

CLASSIC = {"work": 12, "thread_work": 3, "delayed": 3, "flaky": 2, "single": 2, "once": 1, "doomed": 1}
"""Kinds of jobs, and how many of each there are in proportion; see `Workload`."""

DURABLE = {"durable": 5, "durable_entry": 4, "durable_doomed": 1}


LIMITED = {"limited": 8, "partly": 4, "paced": 2}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does.

    Attributes:
        name: of the plan.
        faults: how often each comes, by name; see `faults.py`.
        kinds: of jobs, and their proportions.
        jobs: how many are enqueued at least; more are until the last fault is over.
        rate: jobs enqueued a second.
        backlog: jobs that wait at most; while there are more, none are enqueued.
        seed: of all chances: which jobs, the order of faults, which workers.
        workers: processes.
        slots: of each.
        together: True: faults of workers, of Redis, of PostgreSQL and of jobs go on beside each other; False: each is
            over before the next.
        patience: seconds that the jobs get to end after the last fault.
    """

    name: str
    faults: Mapping[str, int]
    kinds: Mapping[str, int]
    jobs: int
    rate: float = 150.0
    backlog: int = 2000
    seed: int = 0
    workers: int = 3
    slots: int = 20
    together: bool = False
    patience: float = 60.0

    def order(self) -> list[str]:
        """The faults in the order in which they come, which the seed decides."""
        faults = [name for name, times in self.faults.items() for _ in range(times)]
        random.Random(self.seed).shuffle(faults)  # noqa: S311  (a run is to be repeated)
        return faults


ON_REDIS = {"restart redis": 4, "pause redis": 4, "cut redis": 4, "slow redis": 4, "silence redis": 2, "fill redis": 3}
ON_POSTGRES = {
    "restart postgres": 3,
    "pause postgres": 3,
    "cut postgres": 4,
    "slow postgres": 3,
    "silence postgres": 3,
    "lock records": 3,
}
ON_WORKERS = {"kill": 10, "terminate": 5, "pause worker": 3}
CULPRITS = {"block loop": 5, "hang threads": 5, "swallow cancellations": 5}

PLANS = {
    plan.name: plan
    for plan in (
        Plan(name="redis", faults=ON_WORKERS | ON_REDIS | {"kill": 100}, kinds=CLASSIC, jobs=50_000),
        Plan(
            name="postgres",
            faults=ON_WORKERS | ON_POSTGRES | {"kill producer": 5},
            kinds={**CLASSIC, **DURABLE, "entry": 6, "doomed": 6},
            jobs=10_000,
        ),
        Plan(name="outbox", faults={"kill producer": 200}, kinds={"entry": 1}, jobs=1000, rate=20.0),
        Plan(
            name="durable",
            faults={"kill": 10, "terminate": 10, "lock records": 2, "pause postgres": 2, "fill redis": 1},
            kinds=DURABLE,
            jobs=12_000,
            rate=400.0,
        ),
        Plan(
            name="wiped",
            faults={"kill": 5, "terminate": 5, "lock records": 2, "flush redis": 4, "wipe redis": 4},
            kinds=DURABLE,
            jobs=12_000,
            rate=400.0,
        ),
        Plan(
            name="limits",
            faults=ON_WORKERS | ON_REDIS | {"kill": 40, "deploy": 4},
            kinds={**LIMITED, "work": 5},
            jobs=15_000,
            rate=60.0,
        ),
        Plan(
            name="culprits",
            faults=CULPRITS | {"kill": 3, "terminate": 3},
            kinds={**CLASSIC, "long": 6},
            jobs=2000,
            rate=10.0,
            slots=4,
        ),
        Plan(name="deploy", faults={"deploy": 8, "kill": 8}, kinds={**CLASSIC, "feature": 6}, jobs=10_000),
        Plan(
            name="everything",
            faults={**ON_WORKERS, **ON_REDIS, **ON_POSTGRES, **CULPRITS, "deploy": 5, "kill producer": 5},
            kinds={**CLASSIC, **DURABLE, **LIMITED, "entry": 3, "feature": 3},
            jobs=20_000,
            rate=100.0,
            together=True,
        ),
    )
}
"""The plans in their long forms, by name."""
