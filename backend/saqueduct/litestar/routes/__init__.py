"""The queue over HTTP: tasks, jobs, records, dead letters, queues and schedules."""

from saqueduct.litestar.routes.jobs import JobController
from saqueduct.litestar.routes.process import process
from saqueduct.litestar.routes.queues import QueueController
from saqueduct.litestar.routes.records import DeadLetterController, RecordController
from saqueduct.litestar.routes.schedules import ScheduleController
from saqueduct.litestar.routes.tasks import TaskController
from saqueduct.queue.redacted_view import error_summary

__all__ = [
    "DeadLetterController",
    "JobController",
    "QueueController",
    "RecordController",
    "ScheduleController",
    "TaskController",
    "error_summary",
    "process",
]
