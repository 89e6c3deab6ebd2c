"""The queue over HTTP: tasks, jobs, queues and schedules."""

from app.queue.routes.jobs import JobController, error_summary
from app.queue.routes.tasks import TaskController, process

__all__ = ["JobController", "TaskController", "error_summary", "process"]
