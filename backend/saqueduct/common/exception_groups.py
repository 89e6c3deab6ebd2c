"""Exception groups: what is inside of them. `asyncio.TaskGroup` wraps whatever its tasks raise, also a single error."""

import asyncio
from collections.abc import Iterator
from typing import TypeVar, cast

E = TypeVar("E", bound=BaseException)


def find(error: BaseException, kinds: type[E] | tuple[type[E], ...]) -> list[E]:
    """The errors of these kinds: the error itself, or those inside of it if it is a group, however deep.

    A group counts as one of them where a kind is itself a group's: `Exception` means what is in it. Causes
    (`raise ... from`) are not looked into: who raises another error in place of one means that.
    """
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    groups = tuple(kind for kind in wanted if issubclass(kind, BaseExceptionGroup))
    found = (
        each for each in _walk(error) if isinstance(each, groups if isinstance(each, BaseExceptionGroup) else wanted)
    )
    return cast("list[E]", list(found))


def is_cancellation(error: BaseException) -> bool:
    """True for a CancelledError, and for a group of nothing else."""
    return consists_of(error, (asyncio.CancelledError,))


def consists_of(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """True for an error of these kinds, and for a group of nothing else."""
    return all(isinstance(each, (BaseExceptionGroup, *kinds)) for each in _walk(error))


def _walk(error: BaseException) -> Iterator[BaseException]:
    """The error and those inside of it, in order; not by recursion, as groups may be nested without end."""
    left = [error]
    while left:
        each = left.pop()
        yield each
        if isinstance(each, BaseExceptionGroup):
            left.extend(reversed(each.exceptions))
