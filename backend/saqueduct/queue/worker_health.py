"""The state that live workers report, and their problems."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import msgspec

from saqueduct.queue.pausing import Pause, decoded
from saqueduct.timings import Timings

Condition = Literal["ok", "blocked", "not_consuming"]


class WorkerState(msgspec.Struct, omit_defaults=True):
    """What a worker reports at each heartbeat. All times are elapsed seconds, because clocks of machines differ."""

    leased: float
    """Time since it last asked for jobs and got an answer."""
    free: int
    """Slots without a job."""
    blocked: float = 0.0
    """Seconds for which its event loop has not answered; 0: it answers."""
    blocker: str = ""
    """Key and task of the job that blocks the event loop, as far as known."""
    given_up: int = 0
    """Attempts that ignore their cancellation, and still run outside the slots: coroutines and threads."""
    given_up_tasks: str = ""
    """The tasks of these attempts."""
    records: str = ""
    """What prevents its job records from being written; empty: nothing."""
    slots: int = 0
    """All its slots."""
    paused: bool = False
    """It takes no jobs, because somebody has asked for that."""
    host: str = ""
    """Name of its machine."""
    pid: int = 0
    """Of its process; the workers of a process have the same host and pid."""
    version: str = ""
    """Of the application's code, as `SaqueductConfig.version` says."""
    memory: int = 0
    """Resident bytes of its process; 0: unknown."""
    cpu: float = 0.0
    """Share of one core that its process has used since the report before."""
    lag: float = 0.0
    """The longest time in the last half minute that its event loop took to answer."""


class WorkerReport(msgspec.Struct, frozen=True):
    """The last report of a worker, and what it means."""

    worker: str
    """Its id."""
    state: WorkerState
    condition: Condition
    at: float = 0.0
    """When it reported, in epoch seconds by the clock of Redis."""
    paused: Pause | None = None
    """Who has asked it to take no jobs; `state.paused` is True as soon as it knows."""

    @property
    def process(self) -> tuple[str, int]:
        """Host and pid; the same for all workers of a process."""
        return (self.state.host, self.state.pid) if self.state.host else (self.worker, 0)


def reports_of(
    stored: Mapping[bytes, bytes],
    now: float,
    waited: float,
    timings: Timings,
    paused: Mapping[bytes, bytes] = MappingProxyType({}),
) -> tuple[list[WorkerReport], list[str]]:
    """The reports of live workers, and the ids of workers whose reports are stale.

    Args:
        stored: the reports as `lua/beat.lua` stores them, by worker.
        now: epoch seconds by the clock of Redis.
        waited: seconds that the oldest due job has waited; 0: none waits, or the queue is paused.
        timings: of the queue.
        paused: the pauses of workers, as `lua/pause_worker.lua` stores them.
    """
    reports, stale = [], []
    for worker, report in stored.items():
        at, _, raw = report.partition(b" ")
        if now - float(at) > timings.report_stale:
            stale.append(worker.decode())
            continue
        state = msgspec.json.decode(raw, type=WorkerState)
        pause = decoded(paused[worker]) if worker in paused else None
        reports.append(WorkerReport(worker.decode(), state, _condition(state, waited, timings), float(at), pause))
    return reports, stale


def _condition(state: WorkerState, waited: float, timings: Timings) -> Condition:
    if state.blocked:
        return "blocked"
    if state.paused:
        return "ok"
    return "not_consuming" if state.free > 0 and min(waited, state.leased) > timings.not_consuming else "ok"


def problems_of(queue: str, reports: Sequence[WorkerReport]) -> list[str]:
    """Problems of the live workers of a queue; one sentence each."""
    found: list[str] = []
    for report in reports:
        state, name = report.state, f"queue {queue}: the worker {report.worker}"
        if state.records:
            found.append(f"{name}: {state.records}")
        if state.given_up:
            found.append(
                f"{name} runs {state.given_up} attempts that ignore their cancellation and were given up: "
                f"{state.given_up_tasks}"
            )
        if report.condition == "blocked":
            what = state.blocker or "something that is no job"
            found.append(f"{name} is blocked for {state.blocked} s: {what} keeps its event loop")
        elif report.condition == "not_consuming":
            found.append(
                f"{name} is alive but not consuming: jobs wait, and it asked for none for {state.leased:.0f} s"
            )
    return found
