"""Every type that travels, as argument and as result of a real job: it arrives as the declared type."""

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from saqueduct import Context, Queues, task
from saqueduct.testing import JobKit

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("own_tasks")


class Plan(enum.StrEnum):
    FREE = "free"
    PAID = "paid"


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.Enum):
    RED = "#f00"


@dataclasses.dataclass
class Address:
    city: str
    since: dt.date


class Money(msgspec.Struct, frozen=True):
    amount: decimal.Decimal


class Cash(msgspec.Struct, tag=True):
    coins: int


class Card(msgspec.Struct, tag=True):
    number: str


class Point(NamedTuple):
    x: int
    y: int


class Row(TypedDict):
    ident: uuid.UUID
    note: NotRequired[str]


class Line(pydantic.BaseModel):
    ident: uuid.UUID
    price: decimal.Decimal
    at: dt.datetime


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    lines: list[Line]
    plan: Plan
    delivery: dt.timedelta | None = None
    buyer: str = pydantic.Field(validation_alias="buyerName", serialization_alias="buyer_written")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.lines)


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Numbers(pydantic.RootModel[list[int]]):
    pass


@dataclasses.dataclass
class Parcel:
    order: Order
    also: dict[str, Line | None]


MOMENT = dt.datetime(2026, 3, 1, 12, 30, 15, 250, tzinfo=dt.UTC)
LINE = Line(ident=uuid.UUID(int=7), price=decimal.Decimal("1.10"), at=MOMENT)
ORDER = Order.model_validate({"lines": [LINE], "plan": Plan.PAID, "delivery": dt.timedelta(days=1), "buyerName": "Ada"})

VALUES: list[tuple[Any, Any]] = [
    (bool, True),
    (int, 2**53 + 1),
    (float, 0.1),
    (str, "Köln \N{SNOWMAN}\n\x00"),
    (type(None), None),
    (dt.datetime, MOMENT),
    (dt.datetime, MOMENT.replace(tzinfo=None)),
    (dt.date, MOMENT.date()),
    (dt.time, MOMENT.time()),
    (dt.timedelta, dt.timedelta(days=-1, microseconds=5)),
    (uuid.UUID, uuid.UUID(int=3)),
    (decimal.Decimal, decimal.Decimal("0.1000")),
    (bytes, b"\x00\xff"),
    (Plan, Plan.FREE),
    (Level, Level.LOW),
    (Colour, Colour.RED),
    (Literal["a", "b"], "b"),
    (Annotated[int, msgspec.Meta(ge=1)], 1),
    (list[dt.date], [MOMENT.date()]),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, str], (1, "a")),
    (tuple[uuid.UUID, ...], (uuid.UUID(int=1),)),
    (Sequence[int], [1]),
    (dict[int, list[str]], {1: ["a"]}),
    (dict[uuid.UUID, Plan], {uuid.UUID(int=1): Plan.FREE}),
    (Mapping[str, bytes], {"a": b"\xfe"}),
    (Point, Point(1, 2)),
    (Row, {"ident": uuid.UUID(int=1)}),
    (Address, Address("Köln", MOMENT.date())),
    (Money, Money(decimal.Decimal("1.10"))),
    (Cash | Card, Card("4")),
    (int | None, None),
    (int | str, "1"),
    (dt.date | int | list[bool], [True]),
    (Address | None, Address("Bonn", MOMENT.date())),
    (Line, LINE),
    (Order, ORDER),
    (Order | None, ORDER),
    (Order | None, None),
    (list[Line], [LINE, LINE]),
    (dict[str, tuple[Line, ...]], {"a": (LINE,)}),
    (Page[Line], Page[Line](items=[LINE])),
    (Numbers, Numbers([1, 2])),
    (Parcel, Parcel(ORDER, {"a": LINE, "b": None})),
    (Any, {"a": [1, None, 0.5, "x"]}),
    (object, {"a": 1}),
]


@pytest.mark.parametrize(("declared", "value"), VALUES, ids=[str(declared) for declared, _ in VALUES])
async def test_a_value_arrives_as_the_declared_type(declared: Any, value: Any, queues: Queues, jobs: JobKit) -> None:
    arrived = []

    async def echo(ctx: Context, *, value: Any) -> Any:
        arrived.append(value)
        return value

    echo.__annotations__ |= {"value": declared, "return": declared}
    echoing = task(echo)
    async with jobs.working():
        result = await echoing.apply(value=value)
    assert arrived == [value]
    assert (result, type(result)) == (value, type(value))
    assert type(arrived[0]) is type(value)
