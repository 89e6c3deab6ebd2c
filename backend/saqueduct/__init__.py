"""The public API of Saqueduct: what domains, routes and tests import.

Names are loaded on first use, so that `import saqueduct` stays fast.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saq.types import Context

    from saqueduct.application import Saqueduct
    from saqueduct.broker.connections import Connections
    from saqueduct.common.credentials import Credential
    from saqueduct.common.people import Person, Role
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
        LimitNotTaken,
        LimitTimeout,
        PayloadTooLarge,
        QueueError,
        QueueUnavailable,
        RegistrationError,
        ResultTimeout,
        Retry,
        Throttled,
        UnknownLimit,
        UnknownQueue,
        UnknownSchedule,
        UnknownTask,
        UnknownWorker,
    )
    from saqueduct.flow.debounce import Debounce
    from saqueduct.flow.limits import Concurrency, Fair, Rate
    from saqueduct.injection.dishka import FromDishka
    from saqueduct.queue.maintenance import Maintenance
    from saqueduct.queue.pausing import Pause
    from saqueduct.queue.queue import EngineQueue, QueueStats
    from saqueduct.queue.queues import Queues
    from saqueduct.queue.schedule_states import ScheduleState
    from saqueduct.queue.taking import limit
    from saqueduct.schedules.cron_text import crontab
    from saqueduct.schedules.schedule import Schedule
    from saqueduct.tasks.bulk import Call, enqueue_many
    from saqueduct.tasks.call_options import CallOptions
    from saqueduct.tasks.controllers import TaskController
    from saqueduct.tasks.handle import JobHandle, JobUpdate
    from saqueduct.tasks.options import TaskOptions
    from saqueduct.tasks.registry import TaskRegistry, get_registry, scheduled_task, task
    from saqueduct.tasks.signature import INJECTED
    from saqueduct.tasks.task import Task
    from saqueduct.tasks.unique import Unique
    from saqueduct.worker.worker import EngineWorker

__version__ = "0.1.0"

__all__ = [
    "INJECTED",
    "Call",
    "CallOptions",
    "Concurrency",
    "ConfigurationError",
    "Connections",
    "Context",
    "Credential",
    "Debounce",
    "DuplicateJob",
    "DuplicateTask",
    "EngineQueue",
    "EngineWorker",
    "EnqueueConflict",
    "Fair",
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
    "LimitNotTaken",
    "LimitTimeout",
    "Maintenance",
    "Pause",
    "PayloadTooLarge",
    "Person",
    "QueueError",
    "QueueStats",
    "QueueUnavailable",
    "Queues",
    "Rate",
    "RegistrationError",
    "ResultTimeout",
    "Retry",
    "Role",
    "Saqueduct",
    "SaqueductConfig",
    "Schedule",
    "ScheduleState",
    "Task",
    "TaskController",
    "TaskOptions",
    "TaskRegistry",
    "Throttled",
    "Unique",
    "UnknownLimit",
    "UnknownQueue",
    "UnknownSchedule",
    "UnknownTask",
    "UnknownWorker",
    "crontab",
    "enqueue_many",
    "get_registry",
    "limit",
    "scheduled_task",
    "task",
]
if find_spec("dishka") is not None:
    # `from saqueduct import *` also works without the extra.
    __all__ += ["FromDishka"]

_MODULES: dict[str, tuple[str, ...]] = {
    "saq.types": ("Context",),
    "saqueduct.application": ("Saqueduct",),
    "saqueduct.broker.connections": ("Connections",),
    "saqueduct.common.credentials": ("Credential",),
    "saqueduct.common.people": ("Person", "Role"),
    "saqueduct.config": ("SaqueductConfig",),
    "saqueduct.errors": (
        "ConfigurationError",
        "DuplicateJob",
        "DuplicateTask",
        "EnqueueConflict",
        "GiveUp",
        "InvalidArguments",
        "InvalidResult",
        "JobAborted",
        "JobConflict",
        "JobExpired",
        "JobFailed",
        "JobNotFound",
        "LimitNotTaken",
        "LimitTimeout",
        "PayloadTooLarge",
        "QueueError",
        "QueueUnavailable",
        "RegistrationError",
        "ResultTimeout",
        "Retry",
        "Throttled",
        "UnknownLimit",
        "UnknownQueue",
        "UnknownSchedule",
        "UnknownTask",
        "UnknownWorker",
    ),
    "saqueduct.flow.debounce": ("Debounce",),
    "saqueduct.flow.limits": ("Concurrency", "Fair", "Rate"),
    "saqueduct.injection.dishka": ("FromDishka",),
    "saqueduct.queue.maintenance": ("Maintenance",),
    "saqueduct.queue.pausing": ("Pause",),
    "saqueduct.queue.queue": ("EngineQueue", "QueueStats"),
    "saqueduct.queue.queues": ("Queues",),
    "saqueduct.queue.schedule_states": ("ScheduleState",),
    "saqueduct.queue.taking": ("limit",),
    "saqueduct.schedules.cron_text": ("crontab",),
    "saqueduct.schedules.schedule": ("Schedule",),
    "saqueduct.tasks.bulk": ("Call", "enqueue_many"),
    "saqueduct.tasks.call_options": ("CallOptions",),
    "saqueduct.tasks.handle": ("JobHandle", "JobUpdate"),
    "saqueduct.tasks.options": ("TaskOptions",),
    "saqueduct.tasks.controllers": ("TaskController",),
    "saqueduct.tasks.registry": ("TaskRegistry", "get_registry", "scheduled_task", "task"),
    "saqueduct.tasks.signature": ("INJECTED",),
    "saqueduct.tasks.task": ("Task",),
    "saqueduct.tasks.unique": ("Unique",),
    "saqueduct.worker.worker": ("EngineWorker",),
}
"""The module that defines each name; matches the imports above, which type checkers read."""

_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
