"""A plain model of a queue with limits: what may start, in which order, and what must be in Redis."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from saqueduct import EngineQueue
from saqueduct.flow.limits import FAIR
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import EXPIRES_AT, LIMITS
from saqueduct.tasks.limit_keys import lane_of

SLACK = 400.0
"""Seconds that a test takes at most: less than half of a step."""


@dataclasses.dataclass
class GateField:
    """What the field of a gate says, see `lua/limits.lua`."""

    spilled: bool
    holders: list[str]
    waits: str = ""


def read_gate(text: str) -> GateField:
    """The field of a gate."""
    if text == "s":
        return GateField(True, [])
    head, _, lane = text.partition("\n\n")
    count, *holders = head.split("\n")
    assert int(count) == len(holders), text
    assert holders or lane, "nothing is left of this gate"
    return GateField(False, holders, lane.partition(" ")[2] if lane.startswith("w") else "")


@dataclasses.dataclass
class ModelJob:
    """A job that has not ended."""

    key: str
    lane: str
    gates: tuple[str, ...]
    due: float = 0.0
    expires: float | None = None
    first_expires: float | None = None
    leased: Any = None
    expired: bool = False
    keeps: bool = False
    """True: it waits for another attempt, and has kept the slots of ordered limits."""


class Model:
    """The jobs that wait and run, and the arrival times of rates.

    Args:
        rules: by name: ("c" or "o", limit), or ("r", seconds between two starts, burst).
    """

    def __init__(self, rules: dict[str, Any]) -> None:
        self.rules = dict(rules)
        self.now = 0.0
        self.paused = False
        self.running: dict[str, ModelJob] = {}
        self.delayed: dict[str, ModelJob] = {}
        self.lanes: dict[str, list[ModelJob]] = defaultdict(list)
        self.arrivals: dict[str, float] = {}
        self.least: dict[str, float] = {}
        """The same, if each was looked at when its limit changed: nothing starts earlier."""
        self.closed: dict[str, float] = {}
        """Until when jobs have closed gates."""

        self.taken: dict[str, tuple[str, str]] = {}
        """The calls by which jobs have a gate for a part of their run: job and gate, by token."""
        self.takers: dict[str, tuple[str, str]] = {}
        """Those that wait for it."""
        self.kept: dict[str, str] = {}
        """The lane for which a rate keeps a start, by gate."""

    async def observe(self, queue: EngineQueue) -> None:
        """Read which calls have a gate and which wait, and check that those that got it now were allowed to."""
        redis, takes = cast("Any", queue.redis), queue.namespace("flow:takes")
        before, self.taken, self.takers = self.taken, {}, {}
        for job_id in [each.decode() for each in await redis.smembers(takes)]:
            key = queue.job_key_from_id(job_id)
            assert key in self.running, f"{key} has ended, and still has limits"
            for token, call in (await redis.hgetall(f"{takes}:{job_id}")).items():
                calls = self.taken if call.startswith(b"+") else self.takers
                calls[token.decode()] = key, call[1:].decode()
        await self.observe_kept(queue)
        for token in self.taken.keys() - before.keys():
            self.passed(self.taken[token][1])

    async def observe_kept(self, queue: EngineQueue, leased: Sequence[EngineJob] = ()) -> None:
        """Read for which lanes rates keep a start, and check that they could. `leased`: jobs that may have used one."""
        redis, base = cast("Any", queue.redis), queue.namespace("flow:called:")
        kept = {}
        for name in await redis.keys(f"{base}*"):
            gate = name.decode().removeprefix(base)
            lanes = await redis.zrangebyscore(name, "+inf", "+inf")
            assert len(lanes) <= 1, f"two starts of {gate} are kept"
            if lanes:
                kept[gate] = lanes[0].decode()
        used = {
            lane
            for lane, jobs in self.lanes.items()
            if any(waits.key == job.key and not self._expires(waits) for waits in jobs for job in leased)
        }
        for gate, lane in list(self.kept.items()):
            if lane in used or kept.get(gate) == lane:
                continue
            del self.kept[gate]
            for arrivals in (self.arrivals, self.least):
                arrivals[gate] = max(self.now, arrivals[gate] - self._rule(gate)[1])
        if leased:
            return
        for gate in kept.keys() - self.kept.keys():
            assert self._slack(gate, self.least) <= 0, f"a start of {gate} is kept, which has none"
            self._take(gate)
        self.kept = kept

    def passed(self, gate: str) -> None:
        """A call of a running job got a gate."""
        assert not self._shut(gate), f"{gate} is closed"
        if self._rule(gate)[0] == "r":
            assert self._slack(gate, self.least) <= 0
        else:
            assert self._held(gate) <= self._rule(gate)[1], f"too many have {gate}"
        self._take(gate)

    def has_it_as_long_as_it_runs(self, key: str, gate: str) -> bool:
        return gate in self.running[key].gates and self._rule(gate)[0] != "r"

    def enqueue(self, job: EngineJob, delay: float, expires: float | None) -> None:
        limits = job.meta.get(LIMITS, ())
        gates = tuple(sorted(f"{name}\t{key}" for name, key, rule in limits if rule))
        level = "normal" if job.priority == 0 else "high" if job.priority < 0 else "low"
        made = ModelJob(job.key, lane_of(level, limits), gates, self.now + delay)
        made.expires = made.first_expires = None if expires is None else self.now + expires
        if delay:
            self.delayed[job.key] = made
        else:
            self.lanes[made.lane].append(made)

    def leased(self, jobs: Sequence[EngineJob]) -> None:
        """Check that these jobs may start, in this order."""
        assert not (jobs and self.paused)
        for job in jobs:
            lane = next((lane for lane, waiting in self.lanes.items() if waiting and waiting[0].key == job.key), None)
            assert lane is not None, f"{job.key} is not the first of a lane"
            made = self.lanes[lane].pop(0)
            made.leased = job
            made.expired = made.expires is not None and self.now > made.expires
            if not made.expired:
                kept = [gate for gate in made.gates if self._uses_kept(made, gate)]
                closed = [gate for gate in made.gates if gate not in kept and not self._fits(made, gate, self.least)]
                assert not closed, f"{job.key} has started, although {closed} are closed"
                for gate in made.gates:
                    if gate not in kept:
                        self._take(gate)
                made.expires = None
            made.keeps = made.keeps and made.expired
            self.running[job.key] = made

    def _uses_kept(self, job: ModelJob, gate: str) -> bool:
        """Whether the rate has kept a start for the lane of a job that starts, which is worth one."""
        if self.kept.get(gate) != job.lane:
            return False
        del self.kept[gate]
        return not self._shut(gate) and self._arrival(gate, self.least) > self.now

    def finish(self, key: str) -> None:
        del self.running[key]

    def again(self, key: str, delay: float, *, front: bool) -> None:
        job = self.running.pop(key)
        job.keeps = (job.keeps or not job.expired) and any(self._rule(gate)[0] == "o" for gate in job.gates)
        job.expires = None
        if delay:
            job.due = self.now + delay
            self.delayed[key] = job
        elif front or job.keeps:
            # One that has kept no slot does not hold up those that have.
            kept = [not job.keeps and each.keeps for each in self.lanes[job.lane]]
            self.lanes[job.lane].insert([*kept, False].index(False), job)
        else:
            self.lanes[job.lane].append(job)

    def throttle(self, key: str, gate: str, seconds: float) -> None:
        job = self.running[key]
        self.closed[gate] = max(self.closed.get(gate, 0.0), self.now + seconds)
        self.again(key, 0.0, front=True)
        if EXPIRES_AT in job.leased.meta:
            job.expires = job.first_expires

    def recovered(self, keys: Sequence[str]) -> None:
        assert set(keys) == set(self.running)
        for key in reversed(keys):
            self.again(key, 0.0, front=True)

    def promoted(self, keys: Sequence[str]) -> None:
        for key in keys:
            job = self.delayed.pop(key)
            assert job.due <= self.now
            if job.keeps:
                self.lanes[job.lane].insert(0, job)
            else:
                self.lanes[job.lane].append(job)
        assert not [job for job in self.delayed.values() if job.due <= self.now]

    def withdraw(self, key: str) -> None:
        self.delayed.pop(key, None)
        for waiting in self.lanes.values():
            waiting[:] = [job for job in waiting if job.key != key]

    def waiting_keys(self) -> list[str]:
        return [job.key for job in self.waiting_now()] + list(self.delayed)

    def waiting_now(self) -> list[ModelJob]:
        return [job for waiting in self.lanes.values() for job in waiting]

    def _rule(self, gate: str) -> Any:
        return self.rules[gate.split("\t")[0]]

    def _held(self, gate: str, but: ModelJob | None = None) -> int:
        ordered = self._rule(gate)[0] == "o"
        held = [job for job in self.running.values() if gate in job.gates and (job.keeps or not job.expired)]
        if ordered:
            kept = [*self.delayed.values(), *self.waiting_now()]
            held += [job for job in kept if job.keeps and gate in job.gates and job is not but]
        return len(held) + [gate for _, gate in self.taken.values()].count(gate)

    def change(self, name: str, rule: Any) -> None:
        self.rules[name] = rule
        if rule[0] == "r":
            for gate in [gate for gate in self.least if gate.split("\t")[0] == name]:
                self.least[gate] = self._arrival(gate, self.least)

    def _arrival(self, gate: str, arrivals: dict[str, float]) -> float:
        _, step, burst = self._rule(gate)
        return float(min(max(arrivals.get(gate, 0.0), self.now), self.now + burst * step))

    def _slack(self, gate: str, arrivals: dict[str, float] | None = None) -> float:
        """Seconds until the rate opens; 0 or less: it is open."""
        _, step, burst = self._rule(gate)
        return self._arrival(gate, arrivals or self.arrivals) - self.now - float((burst - 1) * step)

    def _fits(self, job: ModelJob, gate: str, arrivals: dict[str, float] | None = None) -> bool:
        if self._shut(gate):
            return False
        if self._rule(gate)[0] == "r":
            return self._slack(gate, arrivals) <= 0
        return bool(self._held(gate, job) < self._rule(gate)[1])

    def _shut(self, gate: str) -> bool:
        return self.closed.get(gate, 0.0) > self.now

    def _opens(self, gate: str) -> float | None:
        """Seconds until a closed gate opens by itself; None: it does not."""
        times = [self.closed[gate] - self.now] if self._shut(gate) else []
        if self._rule(gate)[0] == "r":
            times.append(self._slack(gate))
        return max(times, default=None)

    def _take(self, gate: str) -> None:
        kind, step, *_ = self._rule(gate)
        if kind == "r":
            for arrivals in (self.arrivals, self.least):
                arrivals[gate] = self._arrival(gate, arrivals) + step

    def can_start(self) -> list[ModelJob]:
        """The first jobs of lanes that may start now; one that has expired ends when the turn of its lane comes."""
        first = [waiting[0] for waiting in self.lanes.values() if waiting]
        return [job for job in first if not self._expires(job) and all(self._fits(job, gate) for gate in job.gates)]

    def _expires(self, job: ModelJob) -> bool:
        return job.expires is not None and bool(self.now > job.expires)

    def check_nothing_can_start(self, due: float | None) -> None:
        """After a worker has leased all that it could: what is left waits for a closed gate, and its time is known."""
        left = self.can_start()
        assert not left, f"{left} could start"
        times = [job.due - self.now for job in self.delayed.values()]
        for waiting in self.lanes.values():
            for job in waiting[:1]:
                closed = [gate for gate in job.gates if not self._fits(job, gate)]
                opens = [self._opens(gate) for gate in closed]
                if opens and all(each is not None for each in opens):
                    times.append(max(each for each in opens if each is not None))
        if times:
            assert due is not None, f"the next is due in {min(times)} s, and no worker knows"
            assert due <= min(times) + SLACK, f"next at {due}, but {min(times)}"

    async def check(self, queue: EngineQueue, *, woken: bool) -> None:
        """Check what is kept in Redis about lanes and gates."""
        redis, base = cast("Any", queue.redis), queue.namespace("flow:")
        names = [key.decode() for key in await redis.keys(f"{base}*")]
        owned = {each.decode() for each in await redis.hkeys(queue.namespace("owners"))}
        lanes = {key.decode(): lane.decode() for key, lane in (await redis.hgetall(f"{base}lanes")).items()}
        places = {key.decode(): place.decode() for key, place in (await redis.hgetall(f"{base}places")).items()}
        waiting = {name.removeprefix(f"{base}lane:") for name in names if name.startswith(f"{base}lane:")}
        limited = {job.key for job in self.all() if "\n" in job.lane}
        assert {queue.job_key_from_id(each) for each in lanes} == limited
        assert waiting == {lane for lane, jobs in self.lanes.items() if jobs and "\n" in lane}
        for lane in waiting:
            stored = [queue.job_key_from_id(each.decode()) for each in await redis.lrange(f"{base}lane:{lane}", 0, -1)]
            assert stored == [job.key for job in self.lanes[lane]]
        assert set(places) >= waiting
        in_ring = {
            member.decode()
            for level in ("high", "normal", "low")
            for member in await redis.zrange(f"{base}ring:{level}", 0, -1)
        }
        parked: dict[str, set[str]] = defaultdict(set)
        stored_fields = await redis.hgetall(f"{base}gates")
        fields = {gate.decode(): read_gate(text.decode()) for gate, text in stored_fields.items()}
        for gate, field in fields.items():
            if field.waits:
                parked[gate].add(field.waits)
                assert places[field.waits] == "", f"{field.waits} waits at {gate} and at {places[field.waits]}"
                places[field.waits] = gate
        assert in_ring == {lane for lane, place in places.items() if place == ""}
        spilled = {gate for gate, field in fields.items() if field.spilled}
        for name in names:
            if name.startswith(f"{base}waiters:"):
                gate = name.removeprefix(f"{base}waiters:")
                assert gate in spilled, f"lanes wait at {gate}, and its field does not say so"
                members = {each.decode() for each in await redis.zrange(name, 0, -1)}
                takers = {each for each in members if each.startswith("\2")}
                line = await redis.zrange(f"{base}takers:{gate}", 0, -1)
                assert {each.decode() for each in line} == takers
                assert {each[1:17] for each in takers} == {
                    token for token, (_, at) in self.takers.items() if at == gate
                }
                if members - takers:
                    parked[gate] |= members - takers
        assert parked == {
            gate: {lane for lane, place in places.items() if place == gate}
            for gate in set(places.values()) - {""}
            if not gate.startswith(FAIR)
        }
        in_line = await self._check_turns(queue, places, in_ring)
        held = {gate: field.holders for gate, field in fields.items() if not field.spilled}
        for name in names:
            if name.startswith(f"{base}held:"):
                gate = name.removeprefix(f"{base}held:")
                assert gate in spilled, f"jobs hold {gate}, and its field does not say so"
                held[gate] = [each.decode() for each in await redis.smembers(name)]
        for gate in {each for job in self.all() for each in job.gates} | held.keys():
            self._check_held(gate, held.get(gate, []), owned, lanes)
        await self._check_woken(queue, parked, in_ring | in_line, woken)

    def _check_held(self, gate: str, held: Sequence[str], owned: set[str], lanes: Mapping[str, str]) -> None:
        assert len(held) == len(set(held)) == (0 if self._rule(gate)[0] == "r" else self._held(gate)), f"{gate}: {held}"
        ordered = self._rule(gate)[0] == "o"
        assert all(each[17:] in owned for each in held if each.startswith("\2"))
        jobs = {each for each in held if not each.startswith("\2")}
        assert all(each in owned or (ordered and each in lanes) for each in jobs)

    async def _check_turns(self, queue: EngineQueue, places: dict[str, str], in_ring: set[str]) -> set[str]:
        """Of each key of a fair task one lane is in the ring, and the others are in its line."""
        redis, base = cast("Any", queue.redis), queue.namespace("flow:")
        turns = {key.decode(): lane.decode() for key, lane in (await redis.hgetall(f"{base}turns")).items()}
        firsts = sorted(each.removeprefix("+") for each in turns.values())
        assert firsts == sorted(lane for lane in in_ring if FAIR in lane)
        lined = {key for key, lane in turns.items() if lane.startswith("+")}
        assert {key.decode() for key in await redis.smembers(f"{base}lined")} == lined
        in_line: set[str] = set()
        for name in await redis.keys(f"{base}line:*"):
            assert name.decode().removeprefix(f"{base}line:") in lined
            in_line |= {each.decode() for each in await redis.zrange(name, 0, -1)}
        assert in_line == {lane for lane, place in places.items() if place.startswith(FAIR)}
        return in_line

    def all(self) -> list[ModelJob]:
        return [*self.running.values(), *self.delayed.values(), *self.waiting_now()]

    async def _check_woken(
        self, queue: EngineQueue, parked: dict[str, set[str]], in_ring: set[str], woken: bool
    ) -> None:
        redis, base = cast("Any", queue.redis), queue.namespace("flow:")
        sleeping = {gate.decode() for gate in await redis.zrange(f"{base}sleeping", 0, -1)}
        for gate, lanes in parked.items():
            if not lanes:
                continue
            if self._rule(gate)[0] == "r" or self._shut(gate):
                assert gate in sleeping or any(gate in lane.split("\n") for lane in in_ring), f"{gate} sleeps for ever"
            elif self._held(gate) < self._rule(gate)[1]:
                assert any(gate in lane.split("\n") for lane in in_ring), f"{gate} is open, and {lanes} wait"
        for _, gate in self.takers.values():
            if self._rule(gate)[0] != "r" and not self._shut(gate) and self._held(gate) < self._rule(gate)[1]:
                assert any(gate in lane.split("\n") for lane in in_ring), f"{gate} is open, and a job waits to take it"
        if self.can_start() and not self.paused and not woken:
            entries = await redis.llen(queue.namespace("queued"))
            overdue = sleeping and float((await redis.zrange(f"{base}sleeping", 0, 0, withscores=True))[0][1])
            assert entries or overdue, f"no worker is woken for {self.can_start()}"
