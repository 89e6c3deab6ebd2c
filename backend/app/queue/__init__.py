"""The queue's public API: what domains, routes and tests import."""

from dishka import FromDishka
from saq.types import Context

from app.queue.calls import Call, enqueue_many
from app.queue.cron_text import crontab
from app.queue.engine.pausing import Pause
from app.queue.engine.queue import EngineQueue, QueueStats
from app.queue.engine.queues import Queues
from app.queue.engine.schedules import ScheduleState
from app.queue.errors import (
    ConfigurationError,
    DuplicateJob,
    DuplicateTask,
    EnqueueConflict,
    GiveUp,
    InvalidArguments,
    InvalidResult,
    JobAborted,
    JobConflict,
    JobExpired,
    JobFailed,
    JobNotFound,
    PayloadTooLarge,
    QueueError,
    QueueUnavailable,
    RegistrationError,
    ResultTimeout,
    Retry,
    UnknownQueue,
    UnknownSchedule,
    UnknownTask,
)
from app.queue.handle import JobHandle, JobUpdate
from app.queue.options import CallOptions, TaskOptions, Unique
from app.queue.payload import INJECTED
from app.queue.registry import TaskRegistry, get_registry, scheduled_task, task
from app.queue.schedule import Schedule
from app.queue.task import Task

__all__ = [
    "INJECTED",
    "Call",
    "CallOptions",
    "ConfigurationError",
    "Context",
    "DuplicateJob",
    "DuplicateTask",
    "EngineQueue",
    "EnqueueConflict",
    "FromDishka",
    "GiveUp",
    "InvalidArguments",
    "InvalidResult",
    "JobAborted",
    "JobConflict",
    "JobExpired",
    "JobFailed",
    "JobHandle",
    "JobNotFound",
    "JobUpdate",
    "Pause",
    "PayloadTooLarge",
    "QueueError",
    "QueueStats",
    "QueueUnavailable",
    "Queues",
    "RegistrationError",
    "ResultTimeout",
    "Retry",
    "Schedule",
    "ScheduleState",
    "Task",
    "TaskOptions",
    "TaskRegistry",
    "Unique",
    "UnknownQueue",
    "UnknownSchedule",
    "UnknownTask",
    "crontab",
    "enqueue_many",
    "get_registry",
    "scheduled_task",
    "task",
]
