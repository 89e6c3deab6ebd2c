"""Functions below other decorators, functions that return awaitables, and what cannot be a task."""

import asyncio
import contextlib
import functools
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest

from saqueduct import Context, RegistrationError, TaskRegistry, get_registry, task
from saqueduct.testing import JobKit

pytestmark = pytest.mark.usefixtures("own_tasks")


NO_CONTEXT: Any = {}


def plain(function: Any) -> Any:
    """A decorator that is no coroutine function, also around one."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def in_a_loop_of_its_own(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    return wrapper


class OnceAwaited:
    def __init__(self, value: int) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, Any, int]:
        yield from asyncio.sleep(0).__await__()
        return self.value


async def doubled(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


@plain
async def below_a_plain_decorator(ctx: Context, *, n: int) -> int:
    return await doubled(n)


@plain
@plain
async def below_two(ctx: Context, *, n: int) -> int:
    return await doubled(n)


@in_a_loop_of_its_own
async def below_a_loop(ctx: Context, *, n: int) -> int:
    return await doubled(n)


def returns_a_coroutine(ctx: Context, *, n: int) -> Coroutine[Any, Any, int]:
    return doubled(n)


def declares_any_awaitable(ctx: Context, *, n: int) -> Awaitable[int]:
    return OnceAwaited(2 * n)


def declares_nothing(ctx: Context, *, n: int):  # type: ignore[no-untyped-def]
    return doubled(n)


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    yield


@nothing()
async def below_a_context_manager(ctx: Context, *, n: int) -> int:
    return await doubled(n)


@types.coroutine
def made_a_coroutine(ctx: Context, *, n: int) -> Any:
    return (yield from doubled(n).__await__())


@pytest.mark.parametrize(
    "function",
    [
        below_a_plain_decorator,
        below_two,
        below_a_loop,
        returns_a_coroutine,
        declares_any_awaitable,
        declares_nothing,
        below_a_context_manager,
        made_a_coroutine,
    ],
)
async def test_what_can_be_awaited_is_awaited(jobs: JobKit, function: Any) -> None:
    registered: Any = task(function)
    job = await jobs.run(registered, n=21)
    assert job.result == 42


async def test_the_awaited_result_is_checked_against_the_declared_type(jobs: JobKit) -> None:
    @task
    def job(ctx: Context, *, n: int) -> Awaitable[str]:
        return doubled(n)  # type: ignore[return-value]

    ended = await jobs.run(job, n=1)
    assert "InvalidResult: job returned what cannot be stored: Expected `str`, got `int`" in str(ended.error)


def _generator(ctx: Context) -> Iterator[int]:
    yield 1


async def _async_generator(ctx: Context) -> AsyncIterator[int]:
    yield 1


def _undeclared_generator(ctx: Context):  # type: ignore[no-untyped-def]
    yield 1


class CallMe:
    def __call__(self, ctx: Context) -> None: ...

    async def method(self, ctx: Context) -> None: ...


async def _taking(ctx: Context, n: int) -> None: ...


@pytest.mark.parametrize(
    ("thing", "words", "at"),
    [
        (_generator, "generator function.*return a list", _generator),
        (_undeclared_generator, "generator function.*return a list", _undeclared_generator),
        (_async_generator, "generator function.*return a list", _async_generator),
        (contextlib.contextmanager(_undeclared_generator), "generator function", _undeclared_generator),
        (contextlib.asynccontextmanager(_async_generator), "generator function", _async_generator),
        (CallMe, "is a class.*decorate a function", None),
        (CallMe(), "is a CallMe.*decorate a `def`", CallMe.__call__),
        (CallMe().method, "is a method.*decorate a `def`", CallMe.method),
        (functools.partial(_taking, n=1), "is a partial.*decorate a `def`", _taking),
        (staticmethod(_taking), "is a staticmethod.*decorate a `def`", _taking),
        (print, "is a builtin_function_or_method.*decorate a `def`", None),
        (functools.lru_cache(_taking), "is a _lru_cache_wrapper.*decorate a `def`", _taking),
        (_undeclared_generator(NO_CONTEXT), "is a generator, the result of a call", _undeclared_generator),
        (_async_generator(NO_CONTEXT), "is a async_generator, the result of a call", _async_generator),
        (17, "is a int", None),
        ("_taking", "is a str", None),
    ],
)
def test_what_cannot_be_a_task_is_refused_with_place_and_remedy(thing: Any, words: str, at: Any) -> None:
    with pytest.raises(RegistrationError, match=words) as caught:
        task(thing)
    path, line = caught.value.where.rsplit(":", 1)
    assert path == __file__
    assert int(line) > 0
    if at is not None:
        assert int(line) == at.__code__.co_firstlineno


def test_a_coroutine_is_refused_with_the_place_of_its_function() -> None:
    coroutine: Any = _taking(NO_CONTEXT, 1)
    with pytest.raises(RegistrationError, match="is a coroutine, the result of a call: decorate the function itself"):
        task(coroutine)
    coroutine.close()


async def _forgets_to_await(ctx: Context) -> Any:
    return doubled(1)


def _as_it_comes(ctx: Context) -> Any:
    return (n for n in range(3))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_forgets_to_await, "a coroutine that was not awaited: return what `await` gives"),
        (_as_it_comes, "a generator, of which nothing has run: return a list"),
        (plain(_undeclared_generator), "a generator, of which nothing has run: return a list"),
    ],
)
async def test_what_cannot_be_stored_is_named_with_the_remedy(
    jobs: JobKit, function: Callable[..., Any], words: str
) -> None:
    registered: Any = task(function)
    ended = await jobs.run(registered)
    assert words in str(ended.error)


def test_the_registry_stays_as_it_was_after_a_refusal() -> None:
    registry: TaskRegistry = get_registry()
    before = registry.get_all_tasks()
    with pytest.raises(RegistrationError):
        task(_generator)
    assert registry.get_all_tasks() == before
