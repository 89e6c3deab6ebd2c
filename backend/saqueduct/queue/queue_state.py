"""The state of a queue: its jobs in numbers, its pause, its live workers and their problems.

Health, metrics, the numbers for autoscalers, the HTTP API and the command line all show what is read here.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from saqueduct.broker.keys import REPORTS, WORKERS_PAUSED
from saqueduct.common.text import decoded as decoded_text
from saqueduct.queue.core import QueueCore
from saqueduct.queue.pausing import Pause, decoded
from saqueduct.queue.worker_health import WorkerReport, problems_of, reports_of
from saqueduct.tasks.job import EngineJob, UnreadableJob


@dataclasses.dataclass(frozen=True, slots=True)
class QueueState:
    """A queue in one moment, by the clock of Redis.

    Attributes:
        name: of the queue.
        queued: jobs that are in a list and wait for a worker.
        active: running jobs.
        scheduled: delayed jobs, and jobs that wait for another attempt.
        backlog: jobs that are due or run, and due ticks of schedules; while the queue is paused only those that run.
        latency: seconds for which the oldest due job has waited; 0: none waits.
        paused: who paused it, why and since when; None: it is not paused.
        live_workers: workers that have reported within their time to live.
        reports: the last reports of workers.
    """

    name: str
    queued: int
    active: int
    scheduled: int
    backlog: int
    latency: float
    paused: Pause | None
    live_workers: int
    reports: Sequence[WorkerReport]

    @property
    def problems(self) -> list[str]:
        """Problems of live workers, one sentence each."""
        return problems_of(self.name, self.reports)

    @property
    def workers(self) -> dict[str, int]:
        """Live workers by state: "ok", "blocked" (a job blocks its event loop), "not_consuming" (jobs wait, and it
        takes none), "paused" (a person has asked it to take none)."""
        states = [_state(report) for report in self.reports]
        found = {state: states.count(state) for state in ("blocked", "not_consuming", "paused")}
        return {"ok": max(0, self.live_workers - sum(found.values()))} | found

    @property
    def workers_paused_since(self) -> float | None:
        """Since when nobody takes jobs, because people have paused every live worker, in epoch seconds by the clock of
        Redis; None: one takes jobs, or none lives. Workers without a report, such as stock workers of SAQ, are never
        paused.
        """
        if not self.reports or len(self.reports) < self.live_workers:
            return None
        if not all(report.state.paused for report in self.reports):
            return None
        return max(report.at if report.paused is None else report.paused.since for report in self.reports)

    @property
    def slots(self) -> dict[str, int]:
        """Slots of live workers: "busy" and "free"; a worker that is paused has no free ones."""
        states = [report.state for report in self.reports]
        busy = sum(state.slots - state.free for state in states)
        return {"busy": max(0, busy), "free": sum(state.free for state in states if not state.paused)}


class StateReader:
    """Reads the state of one queue.

    Args:
        core: of the queue.
    """

    def __init__(self, core: QueueCore) -> None:
        self._core = core

    async def read(self) -> QueueState:
        """The state now, in one round trip, which costs the same however many jobs wait."""
        answer = await self._core.scripts.run("state")
        now = float(answer[0])
        incomplete, queued_or_active, ready, leased, taken = answer[1:6]
        active = leased + taken
        queued = max(0, queued_or_active - active)
        paused = decoded(answer[7]) if answer[7] else None
        latency = self._latency(now, answer[6], self._jobs(answer[11]))
        waited = 0.0 if paused is not None else latency
        reports = await self._reports(now, _mapping(answer[10]), _mapping(answer[12]), waited)
        return QueueState(
            name=self._core.name,
            queued=queued,
            active=active,
            scheduled=max(0, incomplete - queued - active),
            backlog=active if paused is not None else max(ready, active) + answer[9],
            latency=latency,
            paused=paused,
            live_workers=answer[8],
            reports=reports,
        )

    def _jobs(self, found: Sequence[bytes]) -> list[EngineJob]:
        jobs = []
        for job_id, stored in zip(found[::2], found[1::2], strict=True):
            try:
                jobs.append(self._core.read(self._core.job_key_from_id(decoded_text(job_id)), stored))
            except UnreadableJob:
                # A worker removes it when its turn comes.
                continue
        return jobs

    @staticmethod
    def _latency(now: float, overdue: bytes, jobs: Sequence[EngineJob]) -> float:
        """Seconds for which the oldest job has waited.

        When a job that has had an attempt became due is not stored: it counts from its last change, and only where no
        other job waits.
        """
        since = [float(overdue)] if overdue else []
        since += [max(job.queued / 1000, float(job.scheduled)) for job in jobs if not _ran(job)]
        if not since and jobs:
            since = [max(max(job.queued, job.touched) / 1000, float(job.scheduled)) for job in jobs]
            return max(0.0, now - max(since))
        return max(0.0, now - min(since, default=now))

    async def _reports(
        self, now: float, stored: Mapping[bytes, bytes], pauses: Mapping[bytes, bytes], waited: float
    ) -> list[WorkerReport]:
        reports, stale = reports_of(stored, now, waited, self._core.timings, pauses)
        gone = [worker.decode() for worker in pauses if worker not in stored]
        if stale or gone:
            async with self._core.redis.pipeline(transaction=True) as pipe:
                pipe.hdel(self._core.namespace(REPORTS), *stale, "")
                pipe.hdel(self._core.namespace(WORKERS_PAUSED), *stale, *gone)
                await pipe.execute()
        return reports


def _state(report: WorkerReport) -> str:
    return "paused" if report.condition == "ok" and report.state.paused else report.condition


def _mapping(raw: Sequence[bytes]) -> dict[bytes, bytes]:
    """The fields of a hash."""
    return dict(zip(raw[::2], raw[1::2], strict=True))


def _ran(job: EngineJob) -> bool:
    """True for a job that was leased before: it was put back, or waits for another attempt."""
    return bool(job.attempts or job.touched > job.queued)
