"""Claims of unique jobs in one transaction: which of its jobs another one of the same transaction makes superfluous.

Jobs of other transactions are in Redis within milliseconds after their commit, and there it is decided.
"""

from collections.abc import Sequence

from saq import Job
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.base import in_schema
from saqueduct.postgres.models import OutboxJob
from saqueduct.postgres.transactions import Pending
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job import EngineJob, Enqueued


def claim_of(job: Job) -> str | None:
    """Id of the claim by which a waiting job keeps others out; None: it does not, or only for a period."""
    claim = job.claim if isinstance(job, EngineJob) else None
    if claim is None or claim.replaces or claim.unique.period is not None:
        return None
    return claim.id if "queued" in claim.unique.states else None


async def existing(
    session: AsyncSession, pending: Pending, queue: EngineQueue, jobs: Sequence[Job], schema: str | None
) -> dict[int, str]:
    """By place, the key of the job that was written in this transaction before, and has the claim of one of these."""
    claims = {place: claim for place, job in enumerate(jobs) if (claim := claim_of(job)) is not None}
    if not claims:
        return {}
    known = {key for claim in claims.values() if (key := pending.claims.get((queue.name, claim)))}
    if known:
        # A savepoint that was rolled back may have taken them along.
        query = select(OutboxJob.key).where(OutboxJob.queue == queue.name, OutboxJob.key.in_(known))
        known = set((await session.execute(query.execution_options(**in_schema(schema)))).scalars())
    found: dict[int, str] = {}
    new: dict[str, str] = {}
    for place, claim in claims.items():
        job, before = jobs[place], pending.claims.get((queue.name, claim))
        if before in known or (before := new.get(claim)) is not None:
            found[place] = str(before)
        elif isinstance(job, EngineJob) and job.new_key == job.key:
            # Only a job with a random key is certain to be written.
            new[claim] = job.key
    return found


def note(pending: Pending, queue: EngineQueue, jobs: Sequence[Job], answers: Sequence[Enqueued]) -> None:
    """Remember the claims of written jobs."""
    for job, answer in zip(jobs, answers, strict=True):
        if answer.created and (claim := claim_of(job)) is not None:
            pending.claims[queue.name, claim] = job.key
