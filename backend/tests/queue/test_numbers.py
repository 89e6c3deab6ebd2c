"""NaN and infinity, which JSON does not have, are refused with their place."""

import dataclasses
import enum
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from saq.job import Status

from saqueduct import Context, InvalidArguments, InvalidResult, task
from saqueduct.tasks.signature import Signature, encode_result
from saqueduct.testing import JobKit

pytestmark = pytest.mark.usefixtures("only_own_tasks")

NAN, INFINITY = float("nan"), float("inf")


@dataclasses.dataclass
class Line:
    price: float | None = None


class Card(msgspec.Struct):
    price: float | None = None
    lines: list[Line] = []


class Order(pydantic.BaseModel):
    model_config = {"extra": "allow"}

    price: float | None = None


class Named(TypedDict, total=False):
    price: float | None


class Pair(NamedTuple):
    low: float | None
    high: float | None


class Level(enum.Enum):
    NONE = NAN


CASES: list[tuple[Any, Any, str]] = [
    (float, NAN, "value"),
    (float | None, NAN, "value"),
    (float | None, INFINITY, "value"),
    (float | None, -INFINITY, "value"),
    (Any, NAN, "value"),
    (Any, {"items": [1, 2, 3, {"price": NAN}]}, r"value\.items\[3\]\.price"),
    (dict[str, Any], {"a": {"b": INFINITY}}, r"value\.a\.b"),
    (dict[str, float | None], {"a": NAN}, r"value\.a"),
    (dict[float, int], {NAN: 1}, r"the name value\.nan"),
    (dict[float, int], {INFINITY: 1}, r"the name value\.inf"),
    (list[float | None], [None, NAN], r"value\[1\]"),
    (tuple[float | None, ...], (NAN,), r"value\[0\]"),
    (set[float | None], {NAN}, r"value\[0\]"),
    (Line, Line(NAN), r"value\.price"),
    (Card, Card(lines=[Line(1.0), Line(NAN)]), r"value\.lines\[1\]\.price"),
    (Order, Order(price=NAN), r"value\.price"),
    (Order, Order.model_validate({"more": [NAN]}), r"value\.more\[0\]"),
    (Named, {"price": NAN}, r"value\.price"),
    (Pair, Pair(1.0, NAN), r"value\[1\]"),
    (Level, Level.NONE, "value"),
    (Decimal, Decimal("NaN"), "value"),
    (Decimal, Decimal("sNaN"), "value"),
    (Decimal, Decimal("-Infinity"), "value"),
    (Any, [Decimal("Infinity")], r"value\[0\]"),
]
each_case = pytest.mark.parametrize(("annotation", "value", "place"), CASES, ids=range(len(CASES)))


@each_case
def test_arguments_without_a_form_in_json_are_refused(annotation: Any, value: Any, place: str) -> None:
    async def takes(ctx: Context, *, value: Any) -> None: ...

    takes.__annotations__["value"] = annotation
    if annotation is Level:
        # There is no such task at all.
        takes.__annotations__["value"] = Any
    with pytest.raises(InvalidArguments, match=rf"value: cannot be encoded as JSON: {place}: JSON has no NaN"):
        Signature(takes).encode({"value": value})


@each_case
def test_results_without_a_form_in_json_are_refused(annotation: Any, value: Any, place: str) -> None:
    place = place.replace(r"value\.", "", 1).replace("value", "", 1)
    with pytest.raises(InvalidResult, match=f"{place}: JSON has no NaN" if place else "JSON has no NaN"):
        encode_result("t", value)


@each_case
def test_declared_results_too(annotation: Any, value: Any, place: str) -> None:
    async def returns(ctx: Context) -> Any: ...

    returns.__annotations__["return"] = Any if annotation is Level else annotation
    with pytest.raises(InvalidResult, match="JSON has no NaN"):
        Signature(returns).encode_result(value)


@pytest.mark.parametrize("value", ["NaN", "inf"])
def test_what_a_model_reads_as_nan_is_refused_too(value: str) -> None:
    async def takes(ctx: Context, *, order: Order) -> None: ...

    with pytest.raises(InvalidArguments, match=r"order\.price: JSON has no NaN"):
        Signature(takes).encode({"order": {"price": value}})


@pytest.mark.parametrize("text", ["NaN", "nan", "sNaN", "Infinity", "-inf"])
def test_a_decimal_that_comes_as_text_is_refused_too(text: str) -> None:
    async def takes(ctx: Context, *, prices: list[Decimal | None], more: Any = None) -> None: ...

    with pytest.raises(InvalidArguments, match=r"prices\[1\]: JSON has no NaN"):
        Signature(takes).encode({"prices": ["1.5", text]})
    # Where no Decimal is declared it is a word.
    assert Signature(takes).encode({"prices": [], "more": text}) == {"prices": [], "more": text}


async def test_such_a_result_is_an_error_of_the_attempt(jobs: JobKit) -> None:
    runs: list[int] = []

    @task(retries=2)
    async def returns(ctx: Context) -> dict[str, Any]:
        runs.append(1)
        return {"items": [{"price": NAN}]}

    job = await jobs.run(returns)
    assert (len(runs), job.status, job.result) == (2, Status.FAILED, None)
    assert "returns returned what cannot be stored: items[0].price: JSON has no NaN" in (job.error or "")


@pytest.mark.parametrize(
    "value", [None, 0.0, -0.0, 1e308, "NaN", "null", [None, "inf"], {"nan": None}, Decimal("1.50")]
)
def test_everything_else_goes(value: Any) -> None:
    async def takes(ctx: Context, *, value: Any) -> None: ...

    assert "value" in Signature(takes).encode({"value": value})
