"""The context in which tasks run that serve the callers of a process together, such as one that sends a batch.

A task of asyncio copies the context of its caller: what one request or job has set would apply to the calls of others
that share the task, in its log lines and spans, and would live as long as the task.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

_base = Context()


def create_shared_task(coroutine: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A task of the running event loop which does not belong to the caller."""
    return asyncio.create_task(coroutine, context=_base.copy())


def set_for_all(change: Callable[[], object]) -> None:
    """Set context variables for all such tasks that begin from now on."""
    _base.run(change)
