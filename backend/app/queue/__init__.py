"""The queue's public API: what domains, routes and tests import."""

from dishka import FromDishka
from saq.types import Context

from app.queue.engine.queue import EngineQueue
from app.queue.engine.queues import Queues
from app.queue.errors import (
    ConfigurationError,
    DuplicateTask,
    GiveUp,
    InvalidArguments,
    InvalidResult,
    JobConflict,
    JobNotFound,
    PayloadTooLarge,
    QueueError,
    QueueUnavailable,
    RegistrationError,
    UnknownTask,
)
from app.queue.options import TaskOptions
from app.queue.registry import TaskRegistry, get_registry, scheduled_task, task
from app.queue.schedule import Schedule
from app.queue.task import Task

__all__ = [
    "ConfigurationError",
    "Context",
    "DuplicateTask",
    "EngineQueue",
    "FromDishka",
    "GiveUp",
    "InvalidArguments",
    "InvalidResult",
    "JobConflict",
    "JobNotFound",
    "PayloadTooLarge",
    "QueueError",
    "QueueUnavailable",
    "Queues",
    "RegistrationError",
    "Schedule",
    "Task",
    "TaskOptions",
    "TaskRegistry",
    "UnknownTask",
    "get_registry",
    "scheduled_task",
    "task",
]
