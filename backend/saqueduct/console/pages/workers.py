"""Workers: the live processes, what they use, their slots and what they run; pausing and resuming one."""

from collections.abc import Sequence
from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency

from saqueduct.broker.outage import answering
from saqueduct.console.view import OPERATOR, View
from saqueduct.errors import QueueUnavailable
from saqueduct.postgres.job_details import JobDetails
from saqueduct.queue.listing import JobListing
from saqueduct.queue.workers import WorkerProcess

MOST_RUNNING = 200
"""Running jobs that the page shows."""


class WorkerPages(Controller):
    """All live workers, and what can be done with one."""

    path = "/workers"

    @get()
    async def all_of_them(self, view: NamedDependency[View]) -> Response[str]:
        """Every live worker process, and the jobs that run."""
        snapshot = await view.snapshot()
        found = await _running(view) if snapshot.redis_up else None
        running, more = found or ((), False)
        processes = snapshot.processes
        return await view.page(
            "workers.html",
            processes=[(process, _of(process, running)) for process in processes],
            others=[job for job in running if not any(job.worker in process.ids for process in processes)],
            stock=snapshot.unreported,
            stats={each.id: each.stats for each in snapshot.workers},
            more=more,
            unknown=snapshot.redis_up and found is None,
            most=MOST_RUNNING,
        )

    @post("/pause", opt=OPERATOR)
    async def pause(self, view: NamedDependency[View]) -> Response[Any]:
        """Ask a worker to take no more jobs."""
        form = await view.form()
        worker, why = form.text("worker"), form.reason()
        process = await view.queues.workers.pause(worker, view.person.name, why)
        await view.note("pause", "worker", [process.id], why=why)
        said = f"Paused {_name(process)}. It takes no more jobs within seconds; running jobs go on."
        return view.done(said, form.text("back"))

    @post("/resume", opt=OPERATOR)
    async def resume(self, view: NamedDependency[View]) -> Response[Any]:
        """Let a worker take jobs again."""
        form = await view.form()
        worker = form.text("worker")
        process = await view.queues.workers.find(worker)
        if was_paused := await view.queues.workers.resume(worker):
            await view.note("resume", "worker", [worker])
        name = _name(process)
        said = f"Resumed {name}. It takes jobs within seconds." if was_paused else f"{name} was not paused."
        return view.done(said, form.text("back"))


async def _running(view: View) -> tuple[Sequence[JobDetails], bool] | None:
    """The jobs that run, and whether there are more than are shown; None: Redis has gone away since the snapshot."""
    try:
        async with answering(view.saqueduct.config.timings.console.answer):
            page = await JobListing(list(view.queues), "active").page(lambda _: True, None, MOST_RUNNING)
    except QueueUnavailable:
        return None
    return [JobDetails.of_job(job) for job in page.jobs], page.cursor is not None


def _of(process: WorkerProcess, running: Sequence[JobDetails]) -> list[JobDetails]:
    """The running jobs of a process."""
    return [job for job in running if job.worker in process.ids]


def _name(process: WorkerProcess) -> str:
    state = process.newest.state
    return f"the worker {state.host} pid {state.pid}" if state.host else f"the worker {process.id}"
