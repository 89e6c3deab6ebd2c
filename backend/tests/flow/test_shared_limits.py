"""Limits that several tasks share: what they have to agree about, and the keys of calls that take them."""

import enum
import uuid
from typing import Annotated, Any, Literal

import msgspec
import pytest

from saqueduct import Concurrency, Context, EngineQueue, InvalidArguments, Rate, RegistrationError, limit, task
from saqueduct.queue.taken_keys import key_of_call
from tests.flow.hands import Hands
from tests.flow.test_taking import ONE, Part, leased, running, taker

pytestmark = pytest.mark.usefixtures("registry")


class Plan(enum.Enum):
    SMALL = "small"


def whole(name: str, hint: Any, **options: Any) -> Any:
    """A task all of whose run counts against the limit, with an argument of this type."""

    async def work(ctx: Context, *, account: Any) -> None: ...

    work.__annotations__["account"] = hint
    return task(name=name, limits=(ONE,), **options)(work)


def takes(name: str, **options: Any) -> Any:
    """A task that takes the limit, and has an argument of the same name."""

    @task(name=name, takes=(ONE,), **options)
    async def work(ctx: Context, *, n: int = 0, account: str = "") -> None: ...

    return work


@pytest.mark.parametrize("other", [takes, lambda name, **options: whole(name, str, **options)], ids=["part", "whole"])
def test_what_one_task_redacts_is_no_plain_key_of_another(other: Any) -> None:
    whole("first", str)
    with pytest.raises(RegistrationError, match=r"redacted here, and not in .*add it to `redact` of both tasks"):
        other("second", redact=("account",))


def test_the_order_of_registration_does_not_matter() -> None:
    takes("first", redact=("account",))
    with pytest.raises(RegistrationError, match=r"redacted in .*, and not here"):
        whole("second", str)


def test_arguments_of_other_names_are_compared() -> None:
    whole("first", str)
    with pytest.raises(RegistrationError, match="redacted here"):

        @task(limits=(Concurrency(1, name="api", by="user"),), redact=("user",))
        async def second(ctx: Context, *, user: str) -> None: ...


def test_an_argument_among_others_may_be_redacted() -> None:
    whole("first", str)
    with pytest.raises(RegistrationError, match="redacted here"):

        @task(takes=(ONE,), redact=("others",))
        async def second(ctx: Context, /, **others: Any) -> None: ...


def test_tasks_that_redact_alike_share_a_limit() -> None:
    whole("first", str, redact=("account",))
    whole("second", str, redact=("account",))
    # Its argument is none of the limit's key: what it takes has the digest.
    takes("third")


@pytest.mark.parametrize("secret_first", [True, False])
async def test_parts_of_tasks_have_the_same_digest(queue: EngineQueue, hands: Hands, secret_first: bool) -> None:
    first, second = takes("a", redact=("account",) * secret_first), takes("b", redact=("account",) * (not secret_first))
    for work in (first, second):
        [job] = await leased(hands, work, 1)
        part = Part(job, account="secret-4711")
        await part.has_it()
        assert not await queue.redis.keys("*secret-4711*")
        await part.end()


@pytest.mark.parametrize(
    ("first", "second"),
    [(int, str), (int | None, str | None), (int, uuid.UUID), (int, Plan), (Literal["a"], float), (bool, int)],
    ids=str,
)
def test_types_that_are_never_equal_are_refused(first: Any, second: Any) -> None:
    whole("first", first)
    with pytest.raises(RegistrationError, match=r"the limit 'api' has a key for 'account', which has .*never equal"):
        whole("second", second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (int, int | None),
        (int, Annotated[int, msgspec.Meta(ge=1)]),
        (int, float),
        (str, Plan),
        (str, uuid.UUID),
        (int | str, str),
        (Literal[1, "a"], int),
        (Any, int),
        (list[int], str),
    ],
    ids=str,
)
def test_types_that_may_be_equal_share_a_limit(first: Any, second: Any) -> None:
    whole("first", first)
    whole("second", second)


@pytest.mark.parametrize("turned", [True, False])
def test_the_key_does_not_depend_on_the_order_of_registration(turned: bool) -> None:
    tasks = [whole("a", int | None), whole("b", int | str)]
    tasks = tasks[::-1] if turned else tasks
    assert key_of_call("api", {"account": "a1"}, tasks, "c") == '"a1"'
    assert key_of_call("api", {"account": 1}, tasks, "c") == "1"
    assert key_of_call("api", {"account": None}, tasks, "c") == key_of_call("api", {"account": None}, tasks, "b")
    with pytest.raises(InvalidArguments, match=r"account: Expected `int \| null`, got `bool`"):
        key_of_call("api", {"account": True}, tasks, "c")


async def test_a_task_uses_the_arguments_that_it_declares(hands: Hands) -> None:
    @task(limits=(Rate("api", 5, by="account"),))
    async def first(ctx: Context, *, account: str) -> None: ...

    [job] = await leased(hands, taker(Rate("api", 5, by="user")), 1)

    @task(takes=(Rate("api", 5, by="customer"),))
    async def last(ctx: Context) -> None: ...

    with running(job):
        for names in ("user", "account", "customer"):
            limit("api", **{names: "a1"})
        with pytest.raises(InvalidArguments, match=r"user: is missing; person: .*there are: user"):
            limit("api", person="a1")


@pytest.mark.parametrize(
    "options",
    [
        {"limits": (Concurrency(1),), "takes": (Concurrency(5, name="t"),)},
        {"limits": (Concurrency(1, name="t"),), "takes": (Concurrency(5),)},
        {"limits": (Concurrency(1), Rate("t", 5))},
        {"takes": (Concurrency(1), Concurrency(1, name="t"))},
    ],
    ids=["both", "both-turned", "limits", "takes"],
)
def test_a_limit_without_a_name_has_that_of_its_task(options: dict[str, Any]) -> None:
    with pytest.raises(RegistrationError, match="two of its limits have the name 't'"):

        @task(name="t", **options)
        async def work(ctx: Context) -> None: ...
