"""Types that travel as JSON, and those that are refused when a task is declared."""

import dataclasses
import datetime as dt
import socket
import sys
from typing import Annotated, Any, ClassVar, Generic, NewType, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import annotated_types
import attrs
import msgspec
import pydantic
import pytest
import typing_extensions
from pydantic.dataclasses import dataclass as pydantic_dataclass

from saqueduct import (
    Context,
    InvalidArguments,
    PayloadTooLarge,
    Queues,
    RegistrationError,
    get_registry,
    task,
)
from saqueduct.tasks.pydantic_models import is_model
from saqueduct.tasks.signature import Signature
from tests.queue.test_payload import VALUES, everything


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
