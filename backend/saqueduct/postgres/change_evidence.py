"""Whether a planned change was made: an attempt that ended between the change and its note cannot say so any more."""

import dataclasses
import datetime as dt
from typing import Literal

from saq import Job
from saq.job import TERMINAL_STATUSES, Status

from saqueduct.common.moments import CLOCKS, moment_at
from saqueduct.common.text import storable
from saqueduct.postgres.audit_batches import Target
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.models import REPLAYED, RETRIED, JobRecord
from saqueduct.postgres.records import shortened
from saqueduct.queue.queues import Queues
from saqueduct.tasks.job_meta import ROUND


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Looks for what a change leaves at a job and its records.

    Args:
        queues: of the application.
        change: what was planned; a discard commits with its note, so that it needs no evidence.
        before: when it was asked for: the jobs were older then, or had ended earlier.
        by, why: who asked for it, and the reason.
    """

    queues: Queues
    change: Literal["abort", "retry", "discard"]
    before: dt.datetime
    by: str
    why: str

    @property
    def reason(self) -> str:
        """The error of a job that is aborted by the change."""
        return f"aborted by {self.by}" + (f": {self.why}" if self.why else "")

    async def shows(self, target: Target, history: JobHistory) -> bool:
        """True if the job was changed.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        queue = self.queues.by_name.get(target.queue or "")
        live = None if queue is None else await queue.job(target.key)
        records = await history.find(target.key, queue=target.queue)
        if self.change == "abort":
            return (live is not None and self._aborted(live)) or any(map(self._record_aborted, records))
        return (live is not None and self._retried(live)) or any(map(self._record_retried, records))

    def _aborted(self, job: Job) -> bool:
        return job.status in (Status.ABORTING, Status.ABORTED) and job.error == storable(self.reason)

    def _record_aborted(self, record: JobRecord) -> bool:
        return record.status == "aborted" and record.error == shortened(self.reason) and self._since(record.ended_at)

    def _retried(self, job: Job) -> bool:
        if not job.meta.get(ROUND):
            return False
        return job.status not in TERMINAL_STATUSES or self._since(moment_at(job.completed))

    def _record_retried(self, record: JobRecord) -> bool:
        if record.resolved_at is None or record.resolved_at < self.before - CLOCKS:
            return False
        mine = record.resolved_by == self.by and (record.resolved_why or "") == self.why
        return record.resolution == RETRIED or (record.resolution == REPLAYED and mine)

    def _since(self, at: dt.datetime | None) -> bool:
        return at is not None and at >= self.before
