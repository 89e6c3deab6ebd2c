"""Jobs with limits against a plain model: any sequence of events keeps what is promised of limits and lanes."""

import asyncio
import itertools
import os
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from saqueduct import Concurrency, EngineQueue, Fair, Rate, TaskRegistry
from saqueduct.common import clock
from saqueduct.queue.limit_states import LimitStates
from saqueduct.timings import Timings
from tests.fixtures.clients import patient
from tests.flow.hands import Hands
from tests.flow.model import Model

T = TypeVar("T")

LONG = int(os.environ.get("LIMITS_MODEL_EXAMPLES", "0"))
"""Examples of the long form, of 100 events each; the suite runs a short one."""

STEP = 1000.0
"""Seconds by which time passes: all rates and delays are multiples of it, and a test takes less."""

LASTING = 3600.0
"""Seconds that leases last: longer than a test, in which nothing renews them."""

tasks = TaskRegistry()
PAIR = Concurrency(2, by="key", name="pair")
ONE = Concurrency(1, name="one")
SERIAL = Concurrency(1, by="key", name="serial", ordered=True)
RATE = Rate("rate", 1, per=2 * STEP, by="key")
BURST = Rate("burst", 2, per=4 * STEP, burst=3)


@tasks.task
async def free(ctx: Any, *, key: int) -> None: ...


@tasks.task(limits=(PAIR,))
async def pair(ctx: Any, *, key: int) -> None: ...


@tasks.task(limits=(PAIR, RATE))
async def pair_rate(ctx: Any, *, key: int) -> None: ...


@tasks.task(limits=(RATE,))
async def rated(ctx: Any, *, key: int) -> None: ...


@tasks.task(fair=Fair("key", weights={0: 2}))
async def fair(ctx: Any, *, key: int) -> None: ...


@tasks.task(limits=(PAIR,), fair="tenant")
async def one_tenant(ctx: Any, *, key: int, tenant: int = 0) -> None: ...


@tasks.task(limits=(SERIAL, BURST))
async def serial(ctx: Any, *, key: int) -> None: ...


@tasks.task(limits=(RATE, ONE, PAIR))
async def three(ctx: Any, *, key: int) -> None: ...


@tasks.task(limits=(SERIAL,), priority="high")
async def urgent(ctx: Any, *, key: int) -> None: ...


@tasks.task(limits=(ONE,))
async def one(ctx: Any, *, key: int) -> None: ...


@tasks.task(limits=(PAIR,), priority="low")
async def low_pair(ctx: Any, *, key: int) -> None: ...


@tasks.task(limits=(BURST, PAIR), fair="key")
async def bursts(ctx: Any, *, key: int) -> None: ...


TASKS = [free, pair, pair_rate, serial, three, urgent, fair, one_tenant]
TAKEN = ["pair\t0", "one\t", "serial\t0", "rate\t0", "burst\t"]
"""Gates that running jobs take for a part of their run."""

RATES: tuple[list[Any], list[str]] = [rated, pair_rate, serial, free], ["rate\t0", "rate\t0", "burst\t"]
"""The same, where jobs and parts of jobs meet at rates."""

SHORT: tuple[list[Any], list[str]] = (
    [pair, one, pair_rate, bursts, three, fair, one_tenant, low_pair, free],
    ["pair\t0"],
)
"""What leaves all to the short ways: jobs take no limits, have no expiry, and close no gate, but for 1 of 32 events."""

MIXES = {"all": (TASKS, TAKEN), "rates": RATES, "short ways": SHORT}

RULES = {"pair": ("c", 2), "one": ("c", 1), "serial": ("o", 1), "rate": ("r", 2 * STEP, 1), "burst": ("r", 2 * STEP, 3)}
RULE_TEXTS = {each.name: each.rule for each in (PAIR, ONE, SERIAL, RATE, BURST)}


class Flow(RuleBasedStateMachine):
    """Runs each event on a queue and on the model."""

    url = ""
    mix = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = patient(self.url)
        self.model = Model(RULES)
        self.tokens = itertools.count(1)
        self._shift = clock.shifted(0.0)
        self._shift.__enter__()

    def run(self, awaitable: Awaitable[T]) -> T:
        async def wait() -> T:
            return await awaitable

        return self.runner.run(wait())

    @initialize()
    def empty(self) -> None:
        self.tasks: list[Any]
        self.tasks, self.gates = MIXES[self.mix]
        self.run(self.redis.flushall())
        self.queue = EngineQueue(self.redis, "flow", tasks=tasks, timings=Timings(recovery_wait=0.0))
        self.hands = Hands(self.queue)
        self.resumed = False

    def teardown(self) -> None:
        clock._offset -= self.model.now
        self._shift.__exit__(None, None, None)
        self.run(self.redis.aclose())
        self.runner.close()

    @rule(
        task=st.integers(0, 999),
        keys=st.lists(st.integers(0, 1), min_size=1, max_size=4),
        delay=st.sampled_from([0.0, 0.0, 0.0, STEP]),
        expires=st.sampled_from([None, None, None, STEP * 2.5]),
    )
    def enqueue(self, task: int, keys: list[int], delay: float, expires: float | None) -> None:
        if self.mix == "short ways":
            # Of more keys, so that most lanes are alone at their gates.
            keys = [key + 2 * (task // 100 % 4) for key in keys]
            expires = None if self._is_left_out(task) else expires
        self._enqueue(self.tasks[task % len(self.tasks)], keys, delay, expires)

    def _is_left_out(self, pick: int) -> bool:
        return self.mix == "short ways" and pick % 32 != 0

    def _enqueue(self, task: Any, keys: list[int], delay: float = 0.0, expires: float | None = None) -> None:
        jobs = [task.options(delay=delay or None, expires=expires).job({"key": key}) for key in keys]
        self.run(self.queue.enqueue_many(jobs))
        for job in jobs:
            self.model.enqueue(job, delay, expires)

    @rule(pick=st.integers(0, 999), at=st.integers(0, 999))
    def take(self, pick: int, at: int) -> None:
        able = [key for key, job in self.model.running.items() if not job.expired]
        if able and not self._is_left_out(pick):
            self._take(able[pick % len(able)], self.gates[at % len(self.gates)])

    @rule(task=st.integers(0, 999), at=st.integers(0, 999))
    def contend(self, task: int, at: int) -> None:
        """All jobs that run take a limit, and others wait."""
        if self._is_left_out(task):
            return
        self._enqueue(free, [0, 0])
        self.lease_all()
        for key in [key for key, job in self.model.running.items() if not job.expired]:
            self._take(key, self.gates[at % len(self.gates)])
        self._enqueue(self.tasks[task % len(self.tasks)], [0])
        self.lease_all()

    @rule(task=st.integers(0, 999), key=st.integers(0, 7), ends=st.integers(0, 3))
    def fill_a_lane(self, task: int, key: int, ends: int) -> None:
        """More jobs of one lane than may start, of which some end."""
        self._enqueue(self.tasks[task % len(self.tasks)], [key] * 5)
        self.lease_all()
        for pick in range(ends):
            self.settle(pick * task, "finish", 0.0)

    def _take(self, key: str, gate: str) -> None:
        token = f"{next(self.tokens):016x}"
        answer = self.run(self.hands.take(self.model.running[key].leased, gate, token, RULE_TEXTS[gate.split("\t")[0]]))
        if answer == "free":
            self.model.passed(gate)
        else:
            assert (answer == "own") == self.model.has_it_as_long_as_it_runs(key, gate)

    @rule(pick=st.integers(0, 999), again=st.booleans())
    def give_back_or_ask_again(self, pick: int, again: bool) -> None:
        calls = [*self.model.taken.items(), *self.model.takers.items()]
        if not calls:
            return
        token, (key, gate) = calls[pick % len(calls)]
        job = self.model.running[key].leased
        self.run(self.hands.take(job, gate, token) if again else self.hands.give(job, token))

    @rule(most=st.integers(1, 12))
    def lease(self, most: int) -> None:
        self.resumed = False
        self._lease(most)

    def _lease(self, most: int) -> None:
        jobs = self.run(self.hands.lease(most, LASTING))
        self.run(self.model.observe_kept(self.queue, jobs))
        self.model.leased(jobs)

    @rule()
    def lease_all(self) -> None:
        self.resumed = False
        while True:
            self._lease(12 if self.mix == "short ways" else 5)
            if self.hands.line != "more":
                break
        self.run(self.model.observe(self.queue))
        if not self.model.paused:
            self.model.check_nothing_can_start(self.hands.due)

    # All is drawn here, not in the rules: what they draw from depends on the clock of Redis.
    @rule(
        pick=st.integers(0, 999),
        how=st.sampled_from(["finish", "finish", "finish", "retry", "release", "postpone", "throttle"]),
        delay=st.sampled_from([0.0, STEP, STEP * 3]),
    )
    def settle(self, pick: int, how: str, delay: float) -> None:
        if not self.model.running:
            return
        key = list(self.model.running)[pick % len(self.model.running)]
        job = self.model.running[key]
        if how == "finish" or job.expired or (how == "throttle" and (not job.gates or self._is_left_out(pick))):
            self.run(self.hands.finish(job.leased))
            self.model.finish(key)
        elif how == "throttle":
            gate = job.gates[pick % len(job.gates)]
            self.run(self.hands.throttle(job.leased, gate.split("\t")[0], delay or STEP))
            self.model.throttle(key, gate, delay or STEP)
        elif how == "retry":
            self.run(self.hands.retry(job.leased, delay))
            self.model.again(key, delay, front=False)
        elif how == "release":
            self.run(self.hands.release(job.leased))
            self.model.again(key, 0.0, front=True)
        else:
            self.run(self.hands.postpone(job.leased, delay))
            self.model.again(key, delay, front=True)

    @rule(picks=st.lists(st.integers(0, 999), min_size=2, max_size=4))
    def release_together(self, picks: list[int]) -> None:
        able = [key for key, job in self.model.running.items() if not job.expired]
        if not able:
            return
        keys = list(dict.fromkeys(able[pick % len(able)] for pick in picks))
        self.run(self.hands.release(*(self.model.running[key].leased for key in keys)))
        for key in reversed(keys):
            self.model.again(key, 0.0, front=True)

    @rule(pick=st.integers(0, 999))
    def abort(self, pick: int) -> None:
        waiting = self.model.waiting_keys()
        if not waiting:
            return
        key = waiting[pick % len(waiting)]
        job = self.run(self.queue.job(key))
        assert job is not None
        self.run(self.queue.abort(job, "stop"))
        self.model.withdraw(key)

    @rule()
    def crash(self) -> None:
        self.run(self.hands.die())
        self.model.recovered([self.queue.job_key_from_id(each) for each in self.run(self.queue.sweep())])

    @rule(steps=st.integers(1, 4))
    def wait(self, steps: int) -> None:
        clock._offset += STEP * steps
        self.model.now += STEP * steps
        while promoted := self.run(self.queue.schedule()):
            self.model.promoted([self.queue.job_key_from_id(each) for each in promoted])
        self.run(self.queue.schedule())

    @rule(steps=st.integers(1, 4))
    def wait_while_no_worker_has_a_slot(self, steps: int) -> None:
        """Jobs that wait to take a limit ask when it opens, and no worker leases."""
        for _ in range(steps):
            self.wait(1)
            for token, (key, gate) in self.model.takers.items():
                self.run(self.hands.take(self.model.running[key].leased, gate, token))
            self.run(self.model.observe(self.queue))

    @rule()
    def pause_or_resume(self) -> None:
        self.run(self.queue.resume() if self.model.paused else self.queue.pause())
        self.model.paused = not self.model.paused
        # Workers wait for the resume, see `Waiting.resumption`.
        self.resumed = not self.model.paused

    @rule(name=st.sampled_from(["pair", "one", "rate"]), limit=st.integers(1, 3))
    def change(self, name: str, limit: int) -> None:
        rule = f"r {limit} {2 * STEP * limit} {limit}" if name == "rate" else f"c {limit}"
        self.run(self._set(name, rule))
        self.model.change(name, ("r", 2 * STEP, limit) if name == "rate" else ("c", limit))

    async def _set(self, name: str, rule: str) -> None:
        await cast("Any", self.redis).hset(self.queue.namespace("flow:limits"), name, rule)
        await LimitStates(self.queue.core).stir([name.encode()])

    @rule()
    def check(self) -> None:
        """The check of the sweep changes nothing that is right."""
        self.run(self.queue.sweep())

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "queue"):
            self.run(self.model.observe(self.queue))
            self.run(self.model.check(self.queue, woken=self.resumed or self.hands.line == "more"))
            assert self.run(self.queue.count("queued")) == len(self.model.waiting_now())


@pytest.mark.parametrize("mix", MIXES)
def test_limits_hold_in_any_order_of_events(mix: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flow, "url", redis_url)
    monkeypatch.setattr(Flow, "mix", mix)
    run_state_machine_as_test(
        Flow,
        settings=settings(
            max_examples=LONG or 4,
            stateful_step_count=100 if LONG else 40,
            deadline=None,
            database=None,
            derandomize=not LONG,
            suppress_health_check=cast("list[HealthCheck]", list(HealthCheck)),
            # A failure is short enough without shrinking, which takes minutes.
            phases=(Phase.generate,),
        ),
    )
