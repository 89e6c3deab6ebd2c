"""Workers: the live processes, their slots and what they run."""

from collections.abc import Sequence

from litestar import Response, get
from litestar.di import NamedDependency

from saqueduct.console.view import View
from saqueduct.postgres.job_details import JobDetails
from saqueduct.queue.listing import JobListing

MOST_RUNNING = 200
"""Running jobs that the page shows."""


@get("/workers")
async def workers(view: NamedDependency[View]) -> Response[str]:
    """Every live worker, and the jobs that run."""
    snapshot = await view.snapshot()
    running: Sequence[JobDetails] = ()
    more = False
    if snapshot.redis_up:
        page = await JobListing(list(view.queues), "active").page(lambda _: True, None, MOST_RUNNING)
        running, more = [JobDetails.of_job(job) for job in page.jobs], page.cursor is not None
    states = {report.worker: report for queue in snapshot.queues for report in queue.reports}
    return await view.page("workers.html", states=states, running=running, more=more, most=MOST_RUNNING)
