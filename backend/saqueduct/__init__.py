"""The queue's public API: what domains, routes and tests import."""

from dishka import FromDishka
from saq.types import Context

from saqueduct.application import Saqueduct
from saqueduct.config import SaqueductConfig
from saqueduct.errors import (
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
from saqueduct.queue.pausing import Pause
from saqueduct.queue.queue import EngineQueue, QueueStats
from saqueduct.queue.queues import Queues
from saqueduct.queue.schedule_states import ScheduleState
from saqueduct.schedules.cron_text import crontab
from saqueduct.schedules.schedule import Schedule
from saqueduct.tasks.bulk import Call, enqueue_many
from saqueduct.tasks.handle import JobHandle, JobUpdate
from saqueduct.tasks.options import CallOptions, TaskOptions, Unique
from saqueduct.tasks.registry import TaskRegistry, get_registry, scheduled_task, task
from saqueduct.tasks.signature import INJECTED
from saqueduct.tasks.task import Task

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
    "Saqueduct",
    "SaqueductConfig",
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
