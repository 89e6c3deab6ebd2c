"""One job: its timeline, arguments, result, errors, and what can be done with it."""

import asyncio
from typing import Any, Final

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency

from saqueduct.console.children import children_of
from saqueduct.console.deeds import deeds_on
from saqueduct.console.job_options import options_of
from saqueduct.console.pages.jobs import abort, discard, retry
from saqueduct.console.snippets import as_curl, as_python, redacted_names
from saqueduct.console.timeline import timeline
from saqueduct.console.view import OPERATOR, View
from saqueduct.console.waiting import Reason, why_waits
from saqueduct.errors import JobNotFound, QueueError, QueueUnavailable
from saqueduct.job_lookup import KnownJobs
from saqueduct.postgres.job_details import JobDetails

ENDED: Final = ("complete", "failed", "aborted")


class JobPage(Controller):
    """The page of a job, and its actions."""

    path = "/job"

    @get(opt={"query": ("key", "queue")})
    async def show(self, view: NamedDependency[View]) -> Response[str]:
        """Everything that is known about a job."""
        query = view.request.query_params
        given, queue = view.queues.locate(query.get("key", ""))
        known = await view.known(given, query.get("queue") or queue)
        if not known:
            return await view.page("job_unknown.html", 404, key=given, keeps=view.keeps_records)
        job, where = known.jobs[0]
        knows_task = job.task in view.registry
        api = view.saqueduct.config.api_path
        children, deeds = await asyncio.gather(
            children_of(view, job, look_live=not known.redis_away), deeds_on(view, job)
        )
        base = f"{str(view.request.base_url).rstrip('/')}/{(api or '').strip('/')}".rstrip("/")
        return await view.page(
            "job.html",
            job=job,
            where=where,
            earlier=known.jobs[1:],
            replays=known.replays,
            children=children,
            redis_away=known.redis_away,
            waits=await _why_waits(view, job),
            events=timeline(job, deeds),
            options=options_of(known.live, view.registry.get(job.task) if knows_task else None),
            actions=actions_of(job, known, knows_task=knows_task),
            python=as_python(job),
            curl=None if api is None else as_curl(job, base, view.person.name if view.person.signed_in else None),
            redacted=redacted_names(job),
        )

    @post("/retry", opt=OPERATOR)
    async def retry(self, view: NamedDependency[View]) -> Response[Any]:
        """Queue the job again, with the same key and arguments."""
        return await _act(view, retry, "Queued the job again.")

    @post("/abort", opt=OPERATOR)
    async def abort(self, view: NamedDependency[View]) -> Response[Any]:
        """Abort the job: a waiting one ends immediately, a running one within about a second."""
        said = "Abort requested: a waiting job ends at once, a running one within about a second."
        return await _act(view, abort, said)

    @post("/discard", opt=OPERATOR)
    async def discard(self, view: NamedDependency[View]) -> Response[Any]:
        """Discard the dead letter."""
        return await _act(view, discard, "Discarded the dead letter. Its record stays.")


async def _why_waits(view: View, job: JobDetails) -> Reason | None:
    snapshot = await view.snapshot()
    queue = next((each for each in snapshot.queues if each.name == job.queue), None)
    return why_waits(job, queue, snapshot.at)


def actions_of(job: JobDetails, known: KnownJobs, *, knows_task: bool) -> set[str]:
    """What can be done with a job."""
    found = {"duplicate"} if knows_task else set()
    if job.status not in ENDED:
        return found | {"abort"}
    if known.redis is not None and job.resolution != "replayed":
        found.add("retry")
    if is_dead_letter(job):
        found |= {"replay", "discard"} if knows_task else {"discard"}
    return found


def is_dead_letter(job: JobDetails) -> bool:
    """True for a job that failed for good and waits to be replayed or discarded."""
    return job.status == "failed" and job.resolution is None


async def _act(view: View, action: Any, said: str) -> Response[Any]:
    form = await view.form()
    key, queue = form.exact("key"), form.exact("queue")
    back = view.url("job", key=key, queue=queue)
    try:
        await action(view, key, queue, form.reason())
    except (JobNotFound, QueueUnavailable):
        raise
    except QueueError as error:
        return view.done(str(error), back, kind="error")
    return view.done(said, back)
