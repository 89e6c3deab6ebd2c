"""Why a job waits, in a sentence with the page that says more."""

from collections.abc import Mapping
from typing import NamedTuple

from saqueduct.console.problems import stops_of
from saqueduct.postgres.job_details import JobDetails
from saqueduct.queue.queue_state import QueueState


class Reason(NamedTuple):
    """What a job waits for."""

    text: str
    page: str = ""
    """Path of the page that says more; empty: none."""
    query: Mapping[str, str] = {}


def why_waits(job: JobDetails, queue: QueueState | None, now: float) -> Reason | None:
    """What holds up a job; None: it does not wait, its limits hold it up, or nothing is known.

    Args:
        job: with its limits.
        queue: state of its queue; None: unknown.
        now: epoch seconds.
    """
    if job.status == "new":
        return Reason("Waits in PostgreSQL for Redis: a web process or a worker enqueues it as soon as Redis takes it.")
    if job.status != "queued" or queue is None or any(not each.open for each in job.waits_for):
        return None
    if job.due_at is not None and job.due_at.timestamp() > now:
        return Reason("Waits for its time, which is in the timeline.")
    stop = next(stops_of(queue), None)
    if stop is not None:
        return Reason(f"{stop.text} {stop.remedy}", stop.page, stop.query)
    if queue.problems and not queue.workers["ok"]:
        return Reason(f"Waits for a worker that takes jobs: {queue.problems[0]}.", "workers")
    busy, free = queue.slots["busy"], queue.slots["free"]
    line = f"{queue.queued:,} {'job is' if queue.queued == 1 else 'jobs are'} in line"
    if not busy + free:
        # Workers of SAQ's own report no slots.
        return Reason(f"Waits for its turn: {line}.")
    if not free:
        return Reason(f"Waits for a slot: all {busy:,} are busy, and {line}.", "jobs", _running(queue))
    return Reason(f"Waits for its turn: {free:,} {'slot is' if free == 1 else 'slots are'} free, and {line}.")


def _running(queue: QueueState) -> dict[str, str]:
    return {"status": "active", "queue": queue.name}
