"""The queue over HTTP: tasks, jobs, records, dead letters, queues and schedules."""

from app.queue.routes.jobs import JobController
from app.queue.routes.process import process
from app.queue.routes.queues import QueueController
from app.queue.routes.records import DeadLetterController, RecordController
from app.queue.routes.schedules import ScheduleController
from app.queue.routes.tasks import TaskController
from app.queue.shown import error_summary

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
