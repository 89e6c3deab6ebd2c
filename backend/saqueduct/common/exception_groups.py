"""Exception groups and their contents. `asyncio.TaskGroup` wraps every error of its tasks, even a single one."""

import asyncio
from collections.abc import Iterator
from typing import TypeVar, cast

E = TypeVar("E", bound=BaseException)


def find(error: BaseException, kinds: type[E] | tuple[type[E], ...]) -> list[E]:
    """The errors of these kinds: the error itself, or those inside it if it is a group, at any depth.

    A group itself matches only a kind that is a group class; `Exception` matches its contents. Causes
    (`raise ... from`) are ignored: code that replaces an error by another one means the new one.
    """
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    groups = tuple(kind for kind in wanted if issubclass(kind, BaseExceptionGroup))
    found = (
        each for each in _walk(error) if isinstance(each, groups if isinstance(each, BaseExceptionGroup) else wanted)
    )
    return cast("list[E]", list(found))


def is_cancellation(error: BaseException) -> bool:
    """True for a CancelledError, and for a group that contains only those."""
    return consists_of(error, (asyncio.CancelledError,))


def consists_of(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """True for an error of these kinds, and for a group that contains only those."""
    return all(isinstance(each, (BaseExceptionGroup, *kinds)) for each in _walk(error))


def _walk(error: BaseException) -> Iterator[BaseException]:
    """The error and those inside it, in order; not recursive, because groups may be nested very deeply."""
    left = [error]
    while left:
        each = left.pop()
        yield each
        if isinstance(each, BaseExceptionGroup):
            left.extend(reversed(each.exceptions))
