"""Bytes for a parameter that is text: refused, because the task would get Base64."""

import dataclasses
import datetime as dt
import uuid
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from saqueduct import Context, InvalidArguments
from saqueduct.errors import InvalidResult
from saqueduct.tasks.signature import Signature

REMEDY = "declare `bytes` to get them back, or pass text, such as `value.decode()`"


@dataclasses.dataclass
class Letter:
    lines: list[str]


async def take(
    ctx: Context,
    *,
    text: str = "",
    short: Annotated[str, msgspec.Meta(max_length=9)] | None = None,
    many: list[str] = [],  # noqa: B006
    by_name: dict[str, str] = {},  # noqa: B006
    letter: Letter | None = None,
    price: Decimal = Decimal(0),
    data: bytes = b"",
    anything: Any = None,
) -> str:
    return text


async def take_further(ctx: Context, *, own: int = 0, **further: str) -> list[str]:
    return []


TAKE, FURTHER = Signature(take), Signature(take_further)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"text": b"abc"}, "text"),
        ({"text": bytearray(b"abc")}, "text"),
        ({"text": memoryview(b"abc")}, "text"),
        ({"short": b"abc"}, "short"),
        ({"many": ["a", b"abc"]}, "many[1]"),
        ({"by_name": {"a": b"abc"}}, "by_name.a"),
        ({"letter": {"lines": [b"abc"]}}, "letter.lines[0]"),
        # Base64 of these is a number.
        ({"price": b"\xd7m\xf8"}, "price"),
    ],
)
def test_bytes_in_place_of_text_are_refused_with_place_and_remedy(arguments: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        TAKE.encode(arguments)
    [[name, problem]] = caught.value.problems.items()
    assert name == next(iter(arguments))
    assert problem.startswith(f"{place}: ")
    assert problem.endswith(REMEDY)


def test_a_key_that_is_bytes_is_refused() -> None:
    with pytest.raises(InvalidArguments, match="a key that is bytes arrives as Base64 text"):
        TAKE.encode({"by_name": {b"a": "b"}})


def test_further_arguments_are_checked_too() -> None:
    with pytest.raises(InvalidArguments, match=r"note: bytes arrive as Base64 text"):
        FURTHER.encode({"own": 1, "note": b"abc"})
    assert FURTHER.encode({"own": 1, "note": "abc"}) == {"own": 1, "note": "abc"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"data": b"abc"},
        {"anything": b"abc"},
        {"many": ["a"], "by_name": {"a": "b"}, "letter": Letter(["a"])},
    ],
)
def test_bytes_that_are_declared_or_not_known_arrive(arguments: dict[str, Any]) -> None:
    assert TAKE.encode(arguments).keys() == arguments.keys()


def test_values_whose_text_is_what_they_are_may_be_text() -> None:
    moment, id_ = dt.datetime(2026, 5, 1, tzinfo=dt.UTC), uuid.uuid4()
    encoded = TAKE.encode({"text": moment, "many": [id_, Decimal("1.50")]})
    assert encoded == {"text": "2026-05-01T00:00:00Z", "many": [str(id_), "1.50"]}


def test_a_result_of_bytes_where_text_is_declared_is_refused() -> None:
    with pytest.raises(InvalidResult, match="result: bytes arrive as Base64 text"):
        TAKE.encode_result(b"abc")
    with pytest.raises(InvalidResult, match=r"result\[1\]: bytes arrive"):
        FURTHER.encode_result(["a", b"abc"])
    assert TAKE.encode_result("abc") == "abc"
