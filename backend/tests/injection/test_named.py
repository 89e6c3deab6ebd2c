"""Injection by parameter name: Litestar's `Provide`s, nested ones, generators, and what a job cannot have."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import Provide

from saqueduct import INJECTED, ConfigurationError, Context, task
from saqueduct.injection.injector import check_dependencies
from saqueduct.injection.named import NamedInjector

pytestmark = pytest.mark.usefixtures("only_own_tasks")


async def made(injector: NamedInjector, *names: str) -> dict[str, Any]:
    async with injector.scope(dict.fromkeys(names, object)) as found:
        return found


@dataclasses.dataclass
class Service:
    session: str
    limit: int = 3


async def test_functions_of_every_kind_provide() -> None:
    async def asynchronous() -> int:
        return 1

    def synchronous() -> int:
        return 2

    async def yields() -> AsyncIterator[int]:
        yield 3

    def yields_too() -> Iterator[int]:
        yield 4

    class Callable:
        def __call__(self) -> int:
            return 5

    kinds: dict[str, Any] = {
        "a": asynchronous,
        "b": Provide(asynchronous),
        "c": synchronous,
        "d": Provide(synchronous, sync_to_thread=False),
        "e": Provide(synchronous, sync_to_thread=True),
        "f": Provide(yields),
        "g": yields,
        "h": Provide(yields_too),
        "i": Callable(),
    }
    found = await made(NamedInjector(kinds), *kinds)
    assert found == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 2, "f": 3, "g": 3, "h": 4, "i": 5}


async def test_a_dependency_takes_others_by_name_and_each_is_made_once() -> None:
    count = 0

    def session() -> str:
        nonlocal count
        count += 1
        return f"session {count}"

    def other(service: Service, session: str) -> str:
        return f"{service.session}, {session}"

    injector = NamedInjector({"other": other, "service": Provide(Service, sync_to_thread=False), "session": session})
    assert await made(injector, "other", "service") == {
        "other": "session 1, session 1", "service": Service("session 1")
    }  # fmt: skip
    assert await made(injector, "service") == {"service": Service("session 2")}


async def test_what_is_cached_is_made_once_a_process() -> None:
    made_so_far: list[int] = []

    async def settings() -> int:
        made_so_far.append(1)
        return len(made_so_far)

    injector = NamedInjector({"settings": Provide(settings, use_cache=True)})
    assert await made(injector, "settings") == await made(injector, "settings") == {"settings": 1}


def noting(notes: list[str], name: str, *, fails: bool = False) -> Any:
    async def provide() -> AsyncIterator[str]:
        try:
            yield name
        except BaseException as error:
            notes.append(f"{name}: {error}")
            raise
        notes.append(f"{name}: done")
        if fails:
            raise LookupError(f"{name} cannot close")

    return provide


async def test_generators_go_on_after_a_success_the_last_first() -> None:
    notes: list[str] = []
    await made(NamedInjector({"a": noting(notes, "a"), "b": noting(notes, "b")}), "a", "b")
    assert notes == ["b: done", "a: done"]


async def test_the_error_of_a_job_is_thrown_into_all_of_them_and_raised() -> None:
    notes: list[str] = []

    def swallows() -> Iterator[str]:
        try:
            yield "c"
        except ValueError as error:
            notes.append(f"c: {error}")

    injector = NamedInjector({"a": noting(notes, "a"), "b": noting(notes, "b"), "c": swallows})
    with pytest.raises(ValueError, match="the job"):
        async with injector.scope(dict.fromkeys("abc", str)):
            raise ValueError("the job")
    assert notes == ["c: the job", "b: the job", "a: the job"]


async def test_a_failed_close_is_a_failure_for_those_that_are_still_open() -> None:
    notes: list[str] = []
    injector = NamedInjector({"a": noting(notes, "a"), "b": noting(notes, "b", fails=True)})
    with pytest.raises(LookupError, match="b cannot close"):
        await made(injector, "a", "b")
    assert notes == ["b: done", "a: b cannot close"]


async def test_an_error_while_one_is_made_closes_those_before_it() -> None:
    notes: list[str] = []

    def fails(a: str) -> None:
        raise LookupError("not made")

    with pytest.raises(LookupError, match="not made"):
        await made(NamedInjector({"a": noting(notes, "a"), "b": fails}), "b")
    assert notes == ["a: not made"]


async def test_an_error_in_a_rollback_hides_no_error_of_the_job(caplog: pytest.LogCaptureFixture) -> None:
    async def fails_to_roll_back() -> AsyncIterator[int]:
        try:
            yield 1
        except ValueError:
            raise LookupError("no rollback") from None

    with pytest.raises(ValueError, match="the job"):
        async with NamedInjector({"a": fails_to_roll_back}).scope({"a": int}):
            raise ValueError("the job")
    assert "the dependency 'a' could not be closed" in caplog.text


async def test_a_generator_that_yields_nothing_is_named() -> None:
    async def nothing() -> AsyncIterator[int]:
        for number in list[int]():
            yield number

    with pytest.raises(ConfigurationError, match="'a' yields nothing"):
        await made(NamedInjector({"a": nothing}), "a")


async def test_an_application_gives_its_dependencies_and_its_state() -> None:
    def pool(state: State) -> str:
        return str(state.pool)

    def users(pool: str) -> str:
        return f"users of {pool}"

    app = Litestar(
        dependencies={"pool": Provide(pool, sync_to_thread=False), "users": Provide(users, sync_to_thread=False)},
        state=State({"pool": "the pool"}),
    )
    injector = NamedInjector({"users": lambda pool: f"own users of {pool}"})
    injector.serve(app)
    assert await made(injector, "pool", "users") == {"pool": "the pool", "users": "own users of the pool"}


def test_what_a_job_cannot_have_is_an_error_at_start_that_says_why() -> None:
    class User:
        pass

    def current_user(request: Request[Any, Any, Any]) -> User:
        return User()

    def paged(limit: int) -> User:
        return User()

    def page(limit: int = 10) -> User:
        return User()

    def left(right: User) -> User:
        return right

    def right(left: User) -> User:
        return left

    injector = NamedInjector({"user": current_user, "paged": paged, "page": page, "left": left, "right": right})

    @task
    async def work(ctx: Context, *, user: User, paged: User, page: User, left: User, nobody: User) -> None: ...

    with pytest.raises(ConfigurationError) as caught:
        check_dependencies(injector, [work])
    message = str(caught.value)
    assert f"{work.where}: work: user: " in message
    assert "'user' takes `request`, which only requests have" in message
    assert "'paged' takes `limit`, which is not in `dependencies`" in message
    assert "left -> right -> left depend on one another" in message
    assert 'add "nobody": Provide(...) to `dependencies`' in message
    assert "work: page:" not in message


def test_a_json_parameter_with_the_name_of_a_dependency_is_an_error_at_start() -> None:
    injector = NamedInjector({"limit": lambda: 1, "size": lambda: 1})

    @task
    async def work(ctx: Context, *, limit: int, size: int = INJECTED) -> None: ...

    with pytest.raises(ConfigurationError, match=r"(?s)default INJECTED.*work: limit: int") as caught:
        check_dependencies(injector, [work])
    assert "size" not in str(caught.value)


def test_names_of_the_application_alone_leave_json_parameters_as_they_are() -> None:
    """They are for its routes."""
    injector = NamedInjector({})
    injector.serve(Litestar(dependencies={"limit": Provide(lambda: 1, sync_to_thread=False)}))

    @task
    async def work(ctx: Context, *, limit: int) -> None: ...

    check_dependencies(injector, [work])


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"dependencies\['a'\] is 3: give a Provide, or a function"):
        NamedInjector({"a": 3}).provides("a", int)
