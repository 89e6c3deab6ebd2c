"""Misfits: jobs that a worker's code is too old or too new for, as in a deploy.

Old and new code run side by side for a while. If a worker does not know a job's task, or the arguments do not fit its
version of the task, the job goes back to the queue for another worker, at no cost: it counts as no attempt, no failure
and no recovery, and the job keeps its unique claim and its durable row. It waits longer each time, and fails when no
worker has fitted it for the deploy window.
"""

import logging
from collections.abc import Container

from saq.job import Status
from saq.utils import now

from saqueduct.common import clock
from saqueduct.errors import PayloadMismatch, TaskNotDeployed
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import MISFIT_SINCE

DEPLOY_WINDOW = 3600.0
"""Seconds for which a job goes back, unless the settings say otherwise."""

LEAST_WAIT, MOST_WAIT = 1.0, 60.0
"""Seconds until the job is tried again: as long as it has waited so far, which doubles the wait, within these
bounds."""

logger = logging.getLogger("saqueduct.worker")


def is_misfit(error: BaseException, job: EngineJob, functions: Container[str]) -> bool:
    """True when the error means that this worker's code does not fit the job; False when the task's function raised it.

    Args:
        error: of the attempt.
        job: leased by this worker.
        functions: the tasks that the worker knows.
    """
    if isinstance(error, TaskNotDeployed):
        return job.function not in functions
    return isinstance(error, PayloadMismatch) and error.job is job


def wait(job: EngineJob, window: float) -> float | None:
    """Seconds until a job that does not fit is tried again; None: it has fitted no worker for the window.

    Args:
        job: leased by this worker.
        window: seconds since it first did not fit.
    """
    # When it was leased, by the clock of Redis.
    current = job.started / 1000 + clock.offset()
    waited = max(0.0, current - job.meta.setdefault(MISFIT_SINCE, current))
    left = window - waited
    return min(left, MOST_WAIT, max(LEAST_WAIT, waited)) if left > 0 else None


def put_back(job: EngineJob, error: BaseException, seconds: float) -> None:
    """Restore the job as it was before its lease, with the reason why it waits."""
    level = logging.DEBUG if job.error == str(error) else logging.WARNING
    logger.log(level, "job %s of %s goes back to the queue for %g s: %s", job.key, job.function, seconds, error)
    job.attempts -= 1
    job.status, job.error, job.touched = Status.QUEUED, str(error), now()
    job.started, job.completed, job.worker_id = 0, 0, None
