"""Arguments travel as JSON and arrive as the declared types."""

import dataclasses
import datetime as dt
import decimal
import enum
import socket
import sys
import uuid
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Generic, NewType, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import annotated_types
import attrs
import msgspec
import pydantic
import pytest
import typing_extensions
from pydantic.dataclasses import dataclass as pydantic_dataclass
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import (
    INJECTED,
    Context,
    InvalidArguments,
    PayloadTooLarge,
    Queues,
    RegistrationError,
    get_registry,
    task,
)
from saqueduct.errors import PayloadMismatch
from saqueduct.tasks.pydantic_models import is_model
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


@dataclasses.dataclass
class Holder:
    sockets: list[socket.socket]


@pydantic_dataclass
class Unread:
    x: int


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr | None = None


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    connection: socket.socket


class Colours(pydantic.BaseModel):
    names: list[str]

    @pydantic.field_validator("names")
    @classmethod
    def _not_beige(cls, names: list[str]) -> list[str]:
        if "beige" in names:
            raise ValueError("no beige")
        return names


class Shelf(pydantic.BaseModel):
    boxes: list[Colours]


class Crude(msgspec.Struct):
    content: msgspec.Raw


class Sized(TypedDict):
    name: Annotated[str, annotated_types.MaxLen(3)]
    inner: "Sized | None"


class SizedToo(typing_extensions.TypedDict):
    name: typing_extensions.Required[Annotated[str, annotated_types.MaxLen(3)]]


@attrs.define
class SizedByAttrs:
    name: Annotated[str, annotated_types.MaxLen(3)]


Short = NewType("Short", Annotated[str, annotated_types.MaxLen(3)])  # pyright: ignore[reportGeneralTypeIssues]
AnyShort = TypeVar("AnyShort", bound=Annotated[str, annotated_types.MaxLen(3)])


class SizedByVariable(msgspec.Struct, Generic[AnyShort]):
    name: AnyShort


@dataclasses.dataclass
class Described:
    length: Annotated[float, annotated_types.Unit("m")]
    longest: ClassVar[Annotated[int, annotated_types.Gt(0)]] = 9
    colour: Annotated[str, pydantic.WithJsonSchema({"examples": ["red"]})] = "red"
    box: Annotated[pydantic.SkipValidation[int], pydantic.Field(description="its number")] = 1


SIZED = (Sized, list[SizedToo], SizedByAttrs, Short | None, SizedByVariable[str])

UNFIT: list[tuple[Any, str]] = [
    (Holder, "JSON has no form for socket"),
    (dict[str, Holder | None], "JSON has no form for socket"),
    (socket.socket | None, "JSON has no form for socket"),
    (set[int] | list[int], "more than one array-like"),
    (list[Unread], "Unread is a pydantic dataclass"),
    (Login, "the model Login has a pydantic secret"),
    (list[Open], "the model Open: Cannot generate a JsonSchema"),
    (Colours | int, "custom type"),
    (msgspec.Raw, "msgspec.Raw is JSON that is already encoded: declare Any"),
    (list[Crude], "msgspec.Raw is JSON that is already encoded"),
    (Annotated[int, pydantic.Field(gt=0)], r"metadata=\[Gt\(gt=0\)\]\) would not be checked: .*msgspec.Meta"),
    (list[pydantic.PositiveInt] | None, r"Gt\(gt=0\) would not be checked"),
    *((each, r"MaxLen\(max_length=3\) would not be checked") for each in SIZED),
]


def test_a_description_of_pydantic_restricts_nothing() -> None:
    async def job(ctx: Context, *, value: Annotated[int, pydantic.Field(description="how many")]) -> None: ...

    assert Signature(job).encode({"value": -1}) == {"value": -1}


def test_what_restricts_no_value_is_no_constraint() -> None:
    async def job(ctx: Context, *, value: Described) -> None: ...

    assert Signature(job).encode({"value": Described(-1.0)})["value"]["length"] == -1.0


@pytest.mark.parametrize(("declared", "why"), UNFIT, ids=[str(declared) for declared, _ in UNFIT])
def test_a_parameter_that_cannot_travel_is_refused_by_name(declared: Any, why: str) -> None:
    async def job(ctx: Context, *, value: Any) -> None: ...

    job.__annotations__["value"] = declared
    with pytest.raises(RegistrationError, match=f"'value' cannot be encoded as JSON .*{why}"):
        Signature(job)


@pytest.mark.parametrize(("declared", "why"), UNFIT, ids=[str(declared) for declared, _ in UNFIT])
def test_a_result_that_cannot_travel_is_refused(declared: Any, why: str) -> None:
    async def job(ctx: Context) -> Any: ...

    job.__annotations__["return"] = declared
    with pytest.raises(RegistrationError, match=f"the result cannot be encoded as JSON .*{why}"):
        Signature(job)


async def paint(ctx: Context, *, rooms: dict[str, Colours]) -> None: ...


def test_a_model_is_checked_by_pydantic_and_the_place_is_named() -> None:
    with pytest.raises(InvalidArguments) as caught:
        Signature(paint).encode({"rooms": {"hall": {"names": ["red", "beige"]}}})
    assert caught.value.problems == {"rooms": "names: Value error, no beige - at `rooms[...]`"}


def test_the_schema_holds_the_models_and_what_they_refer_to() -> None:
    async def job(ctx: Context, *, page: Shelf) -> None: ...

    schema = Signature(job).json_schema()
    [reference] = [schema["properties"]["page"]["properties"]["boxes"]["items"]["$ref"]]
    assert schema["$defs"][reference.removeprefix("#/$defs/")]["properties"]["names"]["type"] == "array"


def test_pydantic_is_asked_for_only_where_somebody_has_imported_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")
    assert not is_model(Colours)
    assert Signature(everything).decode(Signature(everything).encode(VALUES)) == VALUES
    assert "pydantic" not in sys.modules


def test_the_limit_counts_what_is_encoded() -> None:
    async def job(ctx: Context, *, data: bytes) -> None: ...

    with pytest.raises(PayloadTooLarge) as caught:
        Signature(job).encode({"data": b"x" * 90}, limit=100)
    # base64 makes four of three.
    assert caught.value.size == len('{"data":""}') + 120


# Names in objects and moments


@pytest.mark.parametrize(
    "declared", [dict[tuple[int, int], int], list[dict[frozenset[str], str]], dict[bool, int]], ids=str
)
def test_a_dict_whose_keys_cannot_be_names_is_refused_at_import(declared: Any) -> None:
    async def job(ctx: Context, *, value: Any) -> None: ...

    job.__annotations__["value"] = declared
    with pytest.raises(RegistrationError, match=r"'value' cannot be encoded as JSON.*text, numbers, enums, dates"):
        Signature(job)


@pytest.mark.parametrize("where", ["when", "many[1]"])
def test_a_moment_whose_offset_has_seconds_is_refused_with_its_place(where: str) -> None:
    async def job(ctx: Context, *, when: dt.datetime, many: list[dt.datetime]) -> None: ...

    old, new = (dt.datetime(year, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")) for year in (1880, 2026))
    assert old.utcoffset() == dt.timedelta(minutes=53, seconds=28)
    arguments = {"when": old, "many": [new]} if where == "when" else {"when": new, "many": [new, old]}
    with pytest.raises(InvalidArguments) as caught:
        Signature(job).encode(arguments)
    assert list(caught.value.problems) == [where.partition("[")[0]]
    assert caught.value.problems[where.partition("[")[0]].startswith(f"{where}: its offset from UTC has seconds")
    assert Signature(job).encode({"when": old.astimezone(dt.UTC), "many": []})["when"] == "1879-12-31T23:06:32Z"


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (set[Any], [[1]]),
        (frozenset[Any], [{"a": 1}]),
        (dict[str, set[Any]], {"a": [[1]]}),
        (list[frozenset[Any]] | None, [[[1]]]),
    ],
)
async def test_items_that_a_set_cannot_hold_are_refused(queues: Queues, declared: Any, value: Any) -> None:
    async def job(ctx: Context, *, ids: Any) -> None: ...

    job.__annotations__["ids"] = declared
    with get_registry().isolated(), pytest.raises(InvalidArguments, match="ids: unhashable"):
        await task(job).enqueue(ids=value)


async def test_json_of_the_callers_own_that_is_none_is_refused(queues: Queues) -> None:
    with get_registry().isolated():

        @task
        async def takes(ctx: Context, *, body: Any) -> None: ...

        with pytest.raises(InvalidArguments, match="malformed"):
            await takes.enqueue(body=msgspec.Raw(b"{no json"))
