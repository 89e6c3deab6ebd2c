"""TaskRules: what a worker has to know of a task, attached to the coroutine function that SAQ knows."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

_NAME = "saqueduct_rules"


def _always(_: BaseException) -> bool:
    return True


def _never(_: BaseException) -> bool:
    return False


def _none(_: Mapping[str, Any]) -> list[list[str]]:
    return []


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskRules:
    """The rules of one task; the defaults are those of a function that is no task.

    Attributes:
        retries_after: returns whether another attempt is allowed after an error.
        is_final: returns whether another attempt is refused after an error, for any reason.
        limits_of: returns the limits of a job with these arguments, see `limit_keys.py`.
        record_logs: whether records keep what its jobs log; None: as the worker does.
    """

    retries_after: Callable[[BaseException], bool] = _always
    is_final: Callable[[BaseException], bool] = _never
    limits_of: Callable[[Mapping[str, Any]], list[list[str]]] = _none
    record_logs: bool | None = None


_DEFAULTS = TaskRules()


def attach(function: Callable[..., Any], rules: TaskRules) -> None:
    """Give a function its rules."""
    vars(function)[_NAME] = rules


def rules_of(function: object) -> TaskRules:
    """The rules of a function, which a worker may have got without any."""
    rules = getattr(function, _NAME, None)
    return rules if isinstance(rules, TaskRules) else _DEFAULTS
