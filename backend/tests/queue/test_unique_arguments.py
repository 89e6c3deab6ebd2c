"""What makes the arguments of two unique jobs the same: equal values, in any form."""

import dataclasses
import datetime as dt
import enum
import os
import subprocess
import sys
import uuid
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest

from saqueduct import Context, Queues, Unique, task
from saqueduct.tasks.canonical import digest

pytestmark = pytest.mark.usefixtures("only_own_tasks")


class Level(enum.Enum):
    LOW = "low"


class Color(enum.StrEnum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Tagged:
    tags: frozenset[str] = frozenset()
    price: Decimal = Decimal(1)


class Card(msgspec.Struct):
    numbers: set[int]
    at: dt.datetime | None = None


class Order(pydantic.BaseModel):
    tags: set[str] = set()
    price: float = 1.0
    url: pydantic.HttpUrl | None = None


class Named(TypedDict, total=False):
    tags: set[int]


class Pair(NamedTuple):
    low: float
    high: float


NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
IN_BERLIN = NOON.astimezone(dt.timezone(dt.timedelta(hours=1)))
KEY = uuid.uuid4()

SAME: list[tuple[Any, Any, Any]] = [
    (set[int], {0, 8}, {8, 0}),
    (set[str], ["b", "a", "c"], ["c", "b", "a"]),
    (frozenset[dt.datetime], [NOON, NOON + dt.timedelta(1)], [IN_BERLIN + dt.timedelta(1), IN_BERLIN]),
    (list[set[int]], [[0, 8]], [[8, 0]]),
    (set[tuple[int, str]], [[1, "a"], [2, "b"]], [[2, "b"], [1, "a"]]),
    (set[int], [1, 1, 2], [2, 1]),
    (float, 2, 2.0),
    (float, 0.0, -0.0),
    (float | None, 2, 2.0),
    (dict[str, float], {"a": 1, "b": 2}, {"b": 2.0, "a": 1.0}),
    (dict[int, float], {1: 1, 2: 2}, {2: 2.0, 1: 1.0}),
    (Any, {"a": [1, 2.0]}, {"a": [1.0, 2]}),
    (Any, {"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}),
    (dt.datetime, NOON, IN_BERLIN),
    (dt.datetime, "2026-01-01T12:00:00Z", "2026-01-01T13:00:00.000+01:00"),
    (dt.time, "12:00:00Z", "13:00:00+01:00"),
    (dt.timedelta, "PT60S", "PT1M"),
    (Decimal, Decimal("1.0"), Decimal("1.00")),
    (Decimal, "1E+2", "100"),
    (Decimal, "0.50", ".5"),
    (Decimal, "0", "-0.00"),
    (Color, Color.RED, "red"),
    (Level, Level.LOW, "low"),
    (Literal["a", "b"], "a", "a"),
    (uuid.UUID, KEY, str(KEY).upper()),
    (bytes, b"ab", "YWI="),
    (Tagged, Tagged(frozenset({"a", "b"}), Decimal("2.0")), {"price": "2", "tags": ["b", "a"]}),
    (Tagged, {}, {"tags": [], "price": "1.0"}),
    (Card, Card({0, 8}, NOON), {"at": IN_BERLIN, "numbers": [8, 0]}),
    (Order, Order(tags={"a", "b", "c"}), {"tags": ["c", "b", "a"], "price": 1}),
    (Order, {"url": "https://example.com"}, {"url": "https://example.com/"}),
    (Named, {"tags": {0, 8}}, {"tags": [8, 0]}),
    (Pair, Pair(1, 2), [1.0, 2.0]),
    (list[Any], (1, 2), [1, 2]),
]
DIFFERENT: list[tuple[Any, Any, Any]] = [
    (Any, 1, True),
    (Any, 0, False),
    (Any, None, 0),
    (Any, "2", 2),
    (Any, {"a": 1}, [["a", 1]]),
    (Any, [1, 2], [2, 1]),
    (Any, {}, []),
    (float, 2.0, 2.5),
    (Decimal, "1.05", "1.5"),
    (Decimal, "1.23456789012345678901234567890123", "1.23456789012345678901234567890124"),
    (Decimal, "1.5", "-1.5"),
    (dt.datetime, "2026-01-01T12:00:00Z", "2026-01-01T12:00:00+01:00"),
    (dt.datetime, "2026-01-01T12:00:00Z", "2026-01-01T12:00:00"),
    (set[int], [1], [1, 2]),
    (dict[str, int], {"a": 1}, {"b": 1}),
]


@pytest.fixture
def rebuild(request: pytest.FixtureRequest) -> Any:
    async def rebuild(ctx: Context, *, value: Any, full: float = 0) -> None: ...

    rebuild.__annotations__["value"] = request.param
    return task(unique=Unique())(rebuild)


@pytest.mark.parametrize(("rebuild", "first", "second"), SAME, indirect=["rebuild"], ids=range(len(SAME)))
async def test_equal_arguments_make_one_job(queues: Queues, rebuild: Any, first: Any, second: Any) -> None:
    handle = await rebuild.enqueue(value=first)
    again = await rebuild.enqueue(value=second, full=0.0)
    assert (again.created, again.key) == (False, handle.key)


@pytest.mark.parametrize(("rebuild", "first", "second"), DIFFERENT, indirect=["rebuild"], ids=range(len(DIFFERENT)))
async def test_different_arguments_make_two(queues: Queues, rebuild: Any, first: Any, second: Any) -> None:
    await rebuild.enqueue(value=first)
    assert (await rebuild.enqueue(value=second)).created


async def test_those_that_are_named_count_alone(queues: Queues) -> None:
    @task(unique=Unique(by=("tags",)))
    async def rebuild(ctx: Context, *, tags: set[str], full: bool = False) -> None: ...

    await rebuild.enqueue(tags={"a", "b"})
    assert not (await rebuild.enqueue(tags={"b", "a"}, full=True)).created


def test_another_process_makes_the_same_claim() -> None:
    program = "from saqueduct.tasks.canonical import digest; print(digest({'a', 'b', 'c', 'd', 'e'}))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {digest(set("abcde"))}
