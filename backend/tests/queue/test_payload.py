"""Arguments travel as JSON and arrive as the declared types."""

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import (
    INJECTED,
    Context,
    InvalidArguments,
    PayloadTooLarge,
    RegistrationError,
)
from saqueduct.errors import PayloadMismatch
from saqueduct.tasks.signature import Signature


class Plan(enum.StrEnum):
    FREE = "free"


@dataclasses.dataclass
class Address:
    city: str


class Money(msgspec.Struct):
    cents: int


async def everything(
    ctx: Context,
    *,
    when: dt.datetime,
    day: dt.date,
    ident: uuid.UUID,
    amount: decimal.Decimal,
    plan: Plan,
    raw: bytes,
    address: Address,
    money: Money | None,
    by_id: dict[int, list[str]],
    span: dt.timedelta,
) -> None: ...


VALUES: dict[str, Any] = {
    "when": dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC),
    "day": dt.date(2026, 3, 1),
    "ident": uuid.UUID("12345678-1234-5678-1234-567812345678"),
    "amount": decimal.Decimal("12.30"),
    "plan": Plan.FREE,
    "raw": b"\x00\xff",
    "address": Address("Köln"),
    "money": Money(5),
    "by_id": {1: ["a"]},
    "span": dt.timedelta(hours=1, microseconds=5),
}


def test_python_values_arrive_as_the_declared_types() -> None:
    signature = Signature(everything)
    raw = signature.encode(VALUES)
    assert msgspec.json.decode(msgspec.json.encode(raw)) == raw
    assert signature.decode(raw) == VALUES


def test_json_values_are_as_good_as_python_values() -> None:
    signature = Signature(everything)
    raw = signature.encode(VALUES)
    assert signature.encode(raw) == raw


async def named_like_job_fields(
    ctx: Context, *, key: str, timeout: int, meta: dict[str, str], status: str, kwargs: int, queue: str
) -> None: ...


def test_arguments_named_like_job_fields_are_arguments() -> None:
    values = {"key": "k", "timeout": 3, "meta": {"a": "b"}, "status": "new", "kwargs": 1, "queue": "q"}
    signature = Signature(named_like_job_fields)
    assert signature.decode(signature.encode(values)) == values


async def limited(ctx: Context, *, days: Annotated[int, msgspec.Meta(ge=1)] = 7, note: str = "") -> None: ...


def test_constraints_of_the_annotation_hold() -> None:
    with pytest.raises(InvalidArguments, match="days: Expected `int` >= 1"):
        Signature(limited).encode({"days": 0})


def test_not_a_number_is_refused_as_json_has_none() -> None:
    async def measured(ctx: Context, *, value: float) -> None: ...

    with pytest.raises(InvalidArguments, match="value"):
        Signature(measured).encode({"value": float("nan")})


def test_defaults_left_out_stay_left_out() -> None:
    assert Signature(limited).decode({}) == {}


def test_arguments_above_the_limit_are_refused() -> None:
    signature = Signature(limited)
    signature.encode({"note": "x" * 80}, limit=100)
    with pytest.raises(PayloadTooLarge) as caught:
        signature.encode({"note": "x" * 100}, limit=100)
    assert caught.value.limit == 100
    assert caught.value.size > 100


async def open_ended(ctx: Context, *, a: int, **labels: str) -> None: ...


def test_double_star_takes_further_arguments_of_its_type() -> None:
    signature = Signature(open_ended)
    assert signature.decode({"a": 1, "colour": "red"}) == {"a": 1, "colour": "red"}
    with pytest.raises(InvalidArguments, match="colour: Expected `str`"):
        signature.decode({"a": 1, "colour": 3})


def test_the_context_cannot_be_passed() -> None:
    with pytest.raises(InvalidArguments, match="ctx: unknown argument"):
        Signature(open_ended).decode({"a": 1, "ctx": "x"})


def test_the_schema_tells_types_defaults_and_what_is_required() -> None:
    async def job(ctx: Context, *, to: str, days: int = 7, address: Address | None = None) -> None: ...

    schema = Signature(job).json_schema()
    assert schema["required"] == ["to"]
    assert schema["properties"]["to"] == {"type": "string"}
    assert schema["properties"]["days"] == {"type": "integer", "default": 7}
    assert schema["$defs"]["Address"]["properties"]["city"] == {"type": "string"}
    assert schema["additionalProperties"] is False


def test_json_of_a_job_arrives_as_the_declared_types() -> None:
    signature = Signature(everything)
    raw = msgspec.json.encode(signature.encode(VALUES))
    assert signature.decode_json(raw) == VALUES
    assert signature.decode_json(msgspec.Raw(raw)) == VALUES


def test_a_job_without_arguments_has_none() -> None:
    signature = Signature(limited)
    assert signature.decode_json(b"null") == {}
    assert signature.decode_json(b"{}") == {}


def test_defaults_that_a_job_leaves_out_stay_left_out() -> None:
    signature = Signature(limited)
    assert signature.receive({"note": "a"}) == {"note": "a"}
    assert signature.decode_json(b'{"note": "a"}') == {"note": "a"}


async def changed(ctx: Context, *, user_id: int, session: AsyncSession = INJECTED, days: int = 7) -> None: ...


OLDER: dict[str, Any] = {"user_id": 1, "colour": "red", "ctx": {}, "session": "s"}


def receive(signature: Signature, raw: dict[str, Any]) -> dict[str, Any]:
    return signature.receive(raw)


def receive_json(signature: Signature, raw: dict[str, Any]) -> dict[str, Any]:
    return signature.decode_json(msgspec.json.encode(raw))


RECEIVERS = pytest.mark.parametrize("received", [receive, receive_json])
Receiver = Callable[[Signature, dict[str, Any]], dict[str, Any]]


@RECEIVERS
def test_a_worker_drops_what_the_task_does_not_take(received: Receiver) -> None:
    assert received(Signature(changed), OLDER) == {"user_id": 1}


@RECEIVERS
def test_what_is_dropped_is_logged_once(received: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    signature = Signature(changed)
    for _ in range(3):
        received(signature, {"user_id": 1, "colour": "red"})
    [line] = [record.getMessage() for record in caplog.records]
    assert "jobs of changed bring the argument 'colour'" in line
    assert "red" not in line


def test_a_call_refuses_what_a_worker_drops() -> None:
    with pytest.raises(InvalidArguments) as caught:
        Signature(changed).encode(OLDER)
    assert set(caught.value.problems) == {"colour", "ctx", "session"}


@RECEIVERS
def test_a_job_that_does_not_fit_says_so_and_what_to_do(received: Receiver) -> None:
    with pytest.raises(PayloadMismatch) as caught:
        received(Signature(changed), {"days": "seven", "colour": "red"})
    assert caught.value.problems == {"user_id": "missing", "days": "Expected `int`, got `str`"}
    assert "does not match the current signature of changed: " in str(caught.value)
    assert "Another version of the task enqueued it, or a producer that does not validate" in str(caught.value)
    assert "enqueue the job again" in str(caught.value)


@pytest.mark.parametrize("raw", [b"[1]", b"{", b'"x"', b""])
def test_arguments_that_are_no_json_object_do_not_fit(raw: bytes) -> None:
    with pytest.raises(PayloadMismatch, match="arguments: "):
        Signature(changed).decode_json(raw)


@RECEIVERS
def test_double_star_takes_what_a_worker_would_drop(received: Receiver) -> None:
    assert received(Signature(open_ended), {"a": 1, "colour": "red", "ctx": "x"}) == {"a": 1, "colour": "red"}


def test_a_parameter_cannot_begin_with_two_underscores() -> None:
    async def job(ctx: Context, *, __a: int) -> None: ...

    with pytest.raises(RegistrationError, match="'__a' begins with two underscores"):
        Signature(job)
