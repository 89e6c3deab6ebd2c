"""The jobs of a chaos run: which are made, and which enqueues were acknowledged."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from saq.job import Job

from saqueduct import Queues
from saqueduct.tasks.options import Priority
from tests.chaos import tasks
from tests.chaos.fleet import Fleet

if TYPE_CHECKING:
    from tests.chaos.plans import Plan

LEVELS: tuple[Priority, ...] = ("high", "normal", "normal", "low")
SECONDS = (0.0, 0.01, 0.1, 0.5)
"""How long a body takes."""

LONG = 2.0

BATCHES = (1, 5, 20, 100)


async def taking(url: str) -> int:
    """Jobs that have, or wait for, a limit for a part of their run."""
    async with Redis.from_url(url) as client:
        return int(await client.scard("saq:default:flow:takes"))


async def incomplete(url: str) -> int:
    """Jobs in Redis that have not ended."""
    async with Redis.from_url(url) as client:
        return int(await client.zcard("saq:default:incomplete"))


class Workload:
    """Makes the jobs of a plan, and enqueues them.

    Args:
        queues: connected to the running event loop.
        plan: says how many of which.
        fleet: whose newest version tells which features can be asked for.
        redis_url: of Redis past its network.
    """

    def __init__(self, queues: Queues, plan: "Plan", fleet: Fleet, redis_url: str) -> None:
        self._queue = queues.get("default")
        self._plan = plan
        self._fleet = fleet
        self._redis_url = redis_url
        self._chance = random.Random(plan.seed)  # noqa: S311
        self._numbers = 0
        self.tasks: dict[str, str] = {}
        """Task of every job that was made, by key; of those whose enqueue failed too: Redis may have them."""
        self.acknowledged: dict[str, float] = {}
        """Key and time of each job whose enqueue returned, by the monotonic clock."""
        self.failures_due: dict[str, int] = {}
        """Attempts of a job that its body fails by itself."""
        self.numbers: dict[str, int] = {}
        """Number that a job writes with its session."""
        self.refused: Counter[str] = Counter()
        """Enqueues that raised, by the name of the error."""

    async def run(self, faults: asyncio.Future[Any]) -> None:
        """Enqueue the plan's jobs at its rate, some one by one and most in batches, and go on until the faults end."""
        begun, made = time.monotonic(), 0
        while made < self._plan.jobs or not faults.done():
            size = self._chance.choice(BATCHES)
            kinds = self._chance.choices(list(self._plan.kinds), list(self._plan.kinds.values()), k=size)
            made += size
            await self.enqueue([self._make(kind) for kind in kinds])
            await asyncio.sleep(max(0.0, begun + made / self._plan.rate - time.monotonic()))
            await self._wait_for_workers()

    async def _wait_for_workers(self) -> None:
        """Let the workers catch up: a machine may be slower than the plan's rate."""
        # That Redis is away the next enqueue finds out, too.
        with suppress(RedisError, OSError):
            while await incomplete(self._redis_url) > self._plan.backlog:  # noqa: ASYNC110  (Redis does not tell)
                await asyncio.sleep(0.2)

    async def culprit(self, name: str, **arguments: float) -> None:
        """Enqueue a job that does harm."""
        job = getattr(tasks, name).job(arguments)
        while job.key not in self.acknowledged:
            await self.enqueue([job])

    async def enqueue(self, jobs: list[Job]) -> None:
        """Enqueue jobs, and remember those that were acknowledged."""
        self.tasks.update((job.key, job.function) for job in jobs)
        try:
            answers = await self._queue.enqueue_many(jobs)
        except Exception as error:
            # Whatever it is: nobody was promised anything.
            self.refused[type(error).__name__] += len(jobs)
            await asyncio.sleep(0.2)
        else:
            now = time.monotonic()
            self.acknowledged.update((answer.key, now) for answer in answers if answer.created)

    def _make(self, kind: str) -> Job:
        seconds = self._chance.choice(SECONDS)
        job: Job = getattr(self, f"_{kind}", self._plain(kind))(seconds)
        if kind in tasks.DOOMED:
            self.failures_due[job.key] = 1
        return job

    def _plain(self, kind: str) -> Callable[[float], Job]:
        level = self._chance.choice(LEVELS)
        return lambda seconds: getattr(tasks, kind).options(priority=level).job({"seconds": seconds})

    def _delayed(self, seconds: float) -> Job:
        return tasks.work.options(delay=round(self._chance.uniform(0.1, 10), 2)).job({"seconds": seconds})

    def _long(self, _: float) -> Job:
        """Likely to run when something happens to its worker."""
        return tasks.work.job({"seconds": LONG})

    def _flaky(self, seconds: float) -> Job:
        failures = self._chance.randrange(1, 4)
        job = tasks.flaky.job({"seconds": seconds, "failures": failures})
        self.failures_due[job.key] = failures
        return job

    def _single(self, seconds: float) -> Job:
        return tasks.single.job({"number": self._chance.randrange(50), "seconds": seconds})

    def _limited(self, seconds: float) -> Job:
        return tasks.limited.job({"number": self._chance.randrange(6), "seconds": seconds})

    def _partly(self, seconds: float) -> Job:
        return tasks.partly.job({"number": self._chance.randrange(6), "seconds": seconds})

    def _entry(self, _: float) -> Job:
        return self._numbered("entry")

    def _durable_entry(self, _: float) -> Job:
        return self._numbered("durable_entry")

    def _numbered(self, kind: str) -> Job:
        self._numbers += 1
        job: Job = getattr(tasks, kind).job({"number": self._numbers})
        self.numbers[job.key] = self._numbers
        return job

    def _feature(self, seconds: float) -> Job:
        """A job of the newest feature that any worker knows; before the first deploy, of none."""
        version = self._fleet.version
        return tasks.FEATURES[version].job({"seconds": seconds}) if version else tasks.work.job({"seconds": seconds})
