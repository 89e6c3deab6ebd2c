"""Names in JSON objects: values whose keys or fields would lose or swap their values on the way are refused."""

import dataclasses
import enum
import uuid
from typing import Annotated, Any

import msgspec
import pydantic
import pytest

from saqueduct import Context, InvalidArguments, InvalidResult, RegistrationError
from saqueduct.tasks.signature import Signature, encode_result

ID = uuid.UUID("9425f82d-3778-4e87-8f58-feb838fd5592")


class Mixed(enum.Enum):
    NUMBER = 1
    TEXT = "1"


class Plain(enum.Enum):
    ONE = 1


@dataclasses.dataclass
class Box:
    content: dict[int | str, int]


class Crate(pydantic.BaseModel):
    content: dict[Any, int]


class Pallet(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    crates: list[Crate] = []


def takes(declared: Any) -> Signature:
    async def job(ctx: Context, *, value: Any) -> None: ...

    job.__annotations__["value"] = declared
    return Signature(job)


SHARED: list[tuple[Any, Any, str]] = [
    (dict[Any, Any], {1: "a", "1": "b"}, "value"),
    (dict[int | str, int], {1: 2, "1": 3}, "value"),
    (dict[str, int], {1: 2, "1": 3}, "value"),
    (Any, {ID: 2, str(ID): 3}, "value"),
    (Any, {Mixed.NUMBER: 2, Mixed.TEXT: 3}, "value"),
    (Any, {Plain.ONE: 2, 1: 3}, "value"),
    (Any, {1.5: 2, "1.5": 3}, "value"),
    (Any, [{"a": {1: 2, "1": 3}}], "value[0].a"),
    (object, {1: 2, "1": 3}, "value"),
    (list[Box], [Box({1: 2}), Box({1: 2, "1": 3})], "value[1].content"),
    (Any, Box({1: 2, "1": 3}), "value.content"),
]


@pytest.mark.parametrize(("declared", "value", "place"), SHARED, ids=lambda each: str(each)[:40])
def test_two_keys_of_one_name_are_refused_with_their_place(declared: Any, value: Any, place: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        takes(declared).encode({"value": value})
    assert caught.value.problems == {
        "value": f"{place}: two keys of this mapping have the same name in JSON, such as 1 and '1': "
        "use one type of keys"
    }


@pytest.mark.parametrize(("declared", "value", "place"), SHARED, ids=lambda each: str(each)[:40])
def test_two_keys_of_one_name_in_a_result_are_refused(declared: Any, value: Any, place: str) -> None:
    async def job(ctx: Context) -> Any: ...

    job.__annotations__["return"] = declared
    with pytest.raises(InvalidResult, match="two keys of this mapping have the same name in JSON"):
        Signature(job).encode_result(value)
    with pytest.raises(InvalidResult, match="two keys of this mapping have the same name in JSON"):
        encode_result("job", value)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (dict[int | str, int], {1: 2, "2": 3}),
        (Any, {Plain.ONE: 1, "2": [{"a": 1e22, "é": 10**30}]}),
        (Any, msgspec.Raw(b'{"a": 1,\n "b": [1.50, "\\u00e9"]}')),
    ],
    # Of a Raw, text names an address, which differs in each process.
    ids=lambda each: type(each).__name__ if isinstance(each, msgspec.Raw) else str(each),
)
def test_other_mappings_travel(declared: Any, value: Any) -> None:
    expected = msgspec.json.decode(msgspec.json.encode({"value": value}))
    assert takes(declared).encode({"value": value}) == expected


def test_the_keys_of_a_redacted_argument_are_not_shown() -> None:
    async def job(ctx: Context, *, value: Any) -> None: ...

    with pytest.raises(InvalidArguments) as caught:
        Signature(job, redact=["value"]).encode({"value": {"s3cret": {1: 1, "1": 2}}})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Crate(content={1: 2, "1": 3}), "content"),
        (Crate(content={True: 2, "true": 3}), "content"),
        (Pallet(crates=[Crate(content={1: 2, "1": 3})]), "crates[0].content"),
        (Pallet(further={"a": {1: 2, "1": 3}}), "further.a"),  # type: ignore[call-arg]
    ],
    ids=str,
)
def test_two_keys_of_one_name_in_a_model_are_refused(value: Any, place: str) -> None:
    for declared in (type(value), Any):
        with pytest.raises(InvalidArguments, match=f"{place}: two keys".replace("[", r"\[")):
            takes(declared).encode({"value": value})


# Fields of pydantic models


class Hidden(pydantic.BaseModel):
    x: int
    password: str = pydantic.Field("", exclude=True)


class HiddenIf(pydantic.BaseModel):
    x: int = pydantic.Field(0, exclude_if=lambda x: x == 0)


class HoldsHidden(pydantic.BaseModel):
    inner: list[Hidden | None]


class Swapped(pydantic.BaseModel):
    a: int = pydantic.Field(alias="b")
    b: int = pydantic.Field(alias="a")


class Taken(pydantic.BaseModel):
    a: int = pydantic.Field(validation_alias=pydantic.AliasChoices("first", "b"))
    b: int


class Path(pydantic.BaseModel):
    a: list[list[int]] = pydantic.Field(validation_alias=pydantic.AliasPath("a", 0))


@dataclasses.dataclass
class Entry:
    a: Annotated[int, pydantic.Field(alias="b")]
    b: int


class HoldsEntry(pydantic.BaseModel):
    entry: Entry


LOSSY: list[tuple[Any, str]] = [
    (Hidden, "Hidden excludes the field 'password', which would arrive without its value"),
    (HiddenIf, "HiddenIf excludes the field 'x'"),
    (dict[str, HoldsHidden], "Hidden excludes the field 'password'"),
    (Swapped, "in Swapped the alias of 'a' is the name of the field 'b'"),
    (Taken, "in Taken the alias of 'a' is the name of the field 'b'"),
    (Path, "in Path the alias of 'a' is the name of the field 'a'"),
    (HoldsEntry, "in Entry the alias of 'a' is the name of the field 'b'"),
]


@pytest.mark.parametrize(("declared", "why"), LOSSY, ids=lambda each: str(each)[:40])
def test_a_model_that_loses_or_swaps_fields_is_refused_at_import(declared: Any, why: str) -> None:
    with pytest.raises(RegistrationError, match=f"test_names.py:[0-9]+: .*'value' cannot be encoded .*{why}"):
        takes(declared)


class Aliased(pydantic.BaseModel):
    a: int = pydantic.Field(alias="a")
    b: int = pydantic.Field(validation_alias=pydantic.AliasChoices("b", "second"))
    c: int = pydantic.Field(validation_alias=pydantic.AliasPath("third", 0))


def test_a_model_with_other_aliases_travels() -> None:
    value = Aliased(a=1, second=2, third=[3])  # type: ignore[call-arg]
    signature = takes(Aliased)
    assert signature.decode(signature.encode({"value": value})) == {"value": value}
