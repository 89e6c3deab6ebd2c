"""Results travel as JSON, and are what the function declares."""

import datetime as dt
from typing import Any, NoReturn

import msgspec
import pytest

from saqueduct import Context, InvalidResult, PayloadTooLarge
from saqueduct.tasks.signature import Signature, decode_result, encode_result


class Money(msgspec.Struct):
    cents: int


def test_results_become_json() -> None:
    assert encode_result("t", {"at": dt.date(2026, 1, 2), "money": Money(3)}) == {
        "at": "2026-01-02",
        "money": {"cents": 3},
    }


@pytest.mark.parametrize(
    ("declared", "result"),
    [(None, None), (bool, True), (int, -7), (int, 2**60), (float, 7), (Any, 7), (int | None, None)],
)
def test_small_results_come_back_as_they_are(declared: Any, result: Any) -> None:
    async def count(ctx: Context) -> Any: ...

    count.__annotations__["return"] = declared
    encoded = Signature(count).encode_result(result)
    assert (encoded, type(encoded)) == (result, type(result))


@pytest.mark.parametrize(("declared", "result"), [(int, None), (int, True), (bool, 1), (None, 0), (str, 7)])
def test_a_small_result_of_another_type_than_declared_is_refused(declared: Any, result: Any) -> None:
    async def count(ctx: Context) -> Any: ...

    count.__annotations__["return"] = declared
    with pytest.raises(InvalidResult):
        Signature(count).encode_result(result)


def test_a_result_that_json_cannot_carry_is_refused() -> None:
    with pytest.raises(InvalidResult, match="t returned what cannot be stored"):
        encode_result("t", object())


def test_a_result_above_the_limit_is_refused() -> None:
    with pytest.raises(PayloadTooLarge, match="result"):
        encode_result("t", "x" * 200, limit=100)


async def count(ctx: Context) -> dict[str, int]:
    return {}


def test_a_result_of_another_type_than_declared_is_refused_with_task_and_place() -> None:
    with pytest.raises(InvalidResult) as caught:
        Signature(count).encode_result({"a": "one"})
    assert str(caught.value).startswith("count returned what cannot be stored: ")
    assert caught.value.problem == "Expected `int`, got `str` - at `result[...]`, where dict[str, int] is declared"


def test_a_missing_result_is_refused_where_one_is_declared() -> None:
    with pytest.raises(InvalidResult, match="got `null`"):
        Signature(count).encode_result(None)


def test_without_a_declared_result_anything_goes() -> None:
    async def job(ctx: Context):  # type: ignore[no-untyped-def]
        ...

    assert Signature(job).encode_result({"a": [1, dt.date(2026, 1, 2)]}) == {"a": [1, "2026-01-02"]}


def test_a_task_that_never_returns_can_be_one() -> None:
    async def job(ctx: Context) -> NoReturn:
        raise ValueError

    assert Signature(job).returns is Any


def test_a_stored_result_that_is_something_else_is_refused_at_the_reader() -> None:
    with pytest.raises(InvalidResult, match="Expected `int`, got `str`, where int is declared"):
        decode_result(int, "one")
