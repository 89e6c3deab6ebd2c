"""The live workers of all queues by process, and pausing one."""

import dataclasses
from collections.abc import Iterable, Sequence

from saqueduct.broker.outage import answering
from saqueduct.errors import UnknownWorker
from saqueduct.queue.pausing import Pause
from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.queue_state import QueueState
from saqueduct.queue.worker_health import WorkerReport


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerOfQueue:
    """What a process has for one queue."""

    queue: str
    report: WorkerReport


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A live worker process, as it last reported.

    Attributes:
        parts: of its queues, by name.
    """

    parts: Sequence[WorkerOfQueue]

    @property
    def id(self) -> str:
        """Names the process in commands; that of its first queue."""
        return self.parts[0].report.worker

    @property
    def ids(self) -> list[str]:
        """Of its parts."""
        return [part.report.worker for part in self.parts]

    @property
    def newest(self) -> WorkerReport:
        """The last report."""
        return max((part.report for part in self.parts), key=lambda report: report.at)

    @property
    def slots(self) -> int:
        """Of all its queues."""
        return sum(part.report.state.slots for part in self.parts)

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self.slots - sum(part.report.state.free for part in self.parts)

    @property
    def paused(self) -> Pause | None:
        """Who has asked it to take no jobs; None: nobody, or not for all queues."""
        pauses = [part.report.paused for part in self.parts]
        return None if None in pauses else pauses[0]

    @property
    def rests(self) -> bool:
        """True when it knows that it is paused, and takes no jobs."""
        return all(part.report.state.paused for part in self.parts)


def processes_of(states: Iterable[QueueState]) -> list[WorkerProcess]:
    """The processes of the workers of some queues, by host and pid."""
    found: dict[tuple[str, int], list[WorkerOfQueue]] = {}
    for state in states:
        for report in state.reports:
            found.setdefault(report.process, []).append(WorkerOfQueue(state.name, report))
    return [WorkerProcess(sorted(found[each], key=lambda part: part.queue)) for each in sorted(found)]


class Workers:
    """Reads and pauses live workers; see `Queues.workers`.

    Args:
        queues: all queues.
        answer_timeout: maximum seconds of a call.
    """

    def __init__(self, queues: Iterable[EngineQueue], answer_timeout: float) -> None:
        self._queues = queues
        self._answer_timeout = answer_timeout

    async def processes(self) -> list[WorkerProcess]:
        """All live worker processes.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        return processes_of([await queue.state() for queue in self._queues])

    async def pause(self, worker: str, by: str = "", why: str = "") -> WorkerProcess:
        """Ask a worker process to take no more jobs of any queue, until `resume` or its end; what it runs continues.

        It knows at its next heartbeat (`Timings.renewal`), and then reports it.

        Args:
            worker: id of a worker of the process.
            by: who pauses it.
            why: the reason, shown with it.

        Raises:
            UnknownWorker: no live worker has that id.
            QueueUnavailable: Redis did not answer.
        """
        process = await self.find(worker)
        async with answering(self._answer_timeout):
            for part, queue in self._parts(process):
                await queue.pauses.pause_worker(part.report.worker, by, why)
        return await self.find(worker)

    async def resume(self, worker: str) -> bool:
        """Let a worker process take jobs again; returns False if it was not paused.

        Raises:
            UnknownWorker: no live worker has that id.
            QueueUnavailable: Redis did not answer.
        """
        process = await self.find(worker)
        async with answering(self._answer_timeout):
            return any([await queue.pauses.resume_worker(part.report.worker) for part, queue in self._parts(process)])

    async def find(self, worker: str) -> WorkerProcess:
        """The process that has a worker of that id. Errors as `pause`."""
        processes = await self.processes()
        for process in processes:
            if worker in process.ids:
                return process
        raise UnknownWorker(worker, [process.id for process in processes])

    def _parts(self, process: WorkerProcess) -> list[tuple[WorkerOfQueue, EngineQueue]]:
        by_name = {queue.name: queue for queue in self._queues}
        return [(part, by_name[part.queue]) for part in process.parts]
