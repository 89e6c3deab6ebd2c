"""Encoding: values to JSON and back to their declared type. msgspec's strict rules, and pydantic's for its models."""

import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect as msgspec_inspect

from saqueduct.errors import InvalidResult, PayloadTooLarge
from saqueduct.tasks import bytes_as_text, pydantic_models
from saqueduct.tasks.constraints import check_constraints
from saqueduct.tasks.nesting import TOO_DEEP, is_too_deep, may_be_too_deep
from saqueduct.tasks.places import has_one_name_twice, is_between_minutes, is_endless, is_half_a_pair, place_of

MAX_PAYLOAD_BYTES = 256 * 1024
"""Default limit for encoded arguments and results, in bytes."""

MAX_PAYLOAD_CEILING = 64 * 1024 * 1024
"""The largest allowed value of that limit, in bytes: Redis accepts 512 MiB in one value, and a job has two."""

EXACT = 2**53
"""Integers up to this one are the same in Python and in Lua and JSON, whose numbers are doubles."""

UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""Errors that encoding raises for a value that JSON cannot represent."""

UNREADABLE = (msgspec.DecodeError, TypeError)
"""Errors that decoding raises for JSON that does not fit the type; a set with an unhashable item raises TypeError."""

JsonDecoder = msgspec.json.Decoder[Any]

_NAMES = (
    msgspec_inspect.AnyType,
    msgspec_inspect.BytesType,
    msgspec_inspect.CustomType,
    msgspec_inspect.DateTimeType,
    msgspec_inspect.DateType,
    msgspec_inspect.DecimalType,
    msgspec_inspect.EnumType,
    msgspec_inspect.FloatType,
    msgspec_inspect.IntType,
    msgspec_inspect.LiteralType,
    msgspec_inspect.StrType,
    msgspec_inspect.TimeDeltaType,
    msgspec_inspect.TimeType,
    msgspec_inspect.UUIDType,
)
"""Types of dict keys that msgspec writes as names of a JSON object."""


EVERY_FORM = (b"null", b'NaN"', b'nity"', b'nan"', b'inf"')
"""Encoded forms of NaN and infinity: msgspec writes null, and text for a Decimal or a name in an object."""

ENDLESS = "JSON has no NaN and no infinity"


ONE_NAME = "two keys of this mapping have the same name in JSON, such as 1 and '1': use one type of keys"


def encode(value: Any, forms: Sequence[bytes] = EVERY_FORM) -> bytes:
    """A value as JSON.

    Args:
        value: any.
        forms: encoded forms of NaN and infinity to search for; see `endless_forms`.

    Raises:
        TypeError, ValueError, OverflowError, RecursionError: JSON cannot represent it; see UNENCODABLE. Errors about
            NaN, infinity and lone surrogates name the place.
    """
    try:
        encoded = _ENCODER.encode(value)
    except UnicodeEncodeError:
        raise ValueError(_refused("a lone surrogate is not valid text", value, is_half_a_pair)) from None
    for form in forms:
        # `in` first checks whether the operand is a number: twice as slow.
        if encoded.find(form) >= 0:
            if problem := endless(value):
                raise ValueError(problem)
            break
    return encoded


def endless(value: Any) -> str:
    """A message that the value contains NaN or infinity, and where; empty if it does not."""
    return _refused(ENDLESS, value, is_endless) if place_of(value, is_endless) is not None else ""


def between_minutes(value: Any) -> str:
    """A message that the value contains a time that JSON would change, and where; empty if it does not."""
    why = "its offset from UTC has seconds, which JSON's times have not: convert it, `moment.astimezone(UTC)`"
    return _refused(why, value, is_between_minutes) if place_of(value, is_between_minutes) is not None else ""


def lost_names(value: Any, encoded: bytes, raw: Any) -> str:
    """A message that two keys of a mapping have the same name in JSON, and where; empty if there are none.

    Args:
        value: any.
        encoded: the value as JSON.
        raw: the decoded form of that JSON.
    """
    if len(_ENCODER.encode(raw)) == len(encoded) or place_of(value, has_one_name_twice) is None:
        return ""
    return _refused(ONE_NAME, value, has_one_name_twice)


def endless_forms(types: Iterable[Any]) -> Sequence[bytes]:
    """The forms of NaN and infinity that are valid for these types; validation refuses all others."""
    parts = [part for type_ in types for part in _parts(msgspec_inspect.type_info(type_), set())]
    if any(isinstance(part, msgspec_inspect.AnyType | msgspec_inspect.CustomType) for part in parts):
        return EVERY_FORM
    if any(isinstance(part, msgspec_inspect.DecimalType | msgspec_inspect.DictType) for part in parts):
        return EVERY_FORM
    return EVERY_FORM[:1] if any(isinstance(part, msgspec_inspect.NoneType) for part in parts) else ()


def _refused(why: str, value: Any, wrong: Callable[[Any], bool]) -> str:
    place = place_of(value, wrong)
    return f"{place}: {why}" if place else why


def to_builtins(value: Any) -> Any:
    """A value in the form that `json.loads` would return. Raises as `encode`."""
    return msgspec.json.decode(encode(value))


def decoder(type_: Any) -> JsonDecoder:
    """A reusable decoder that reads and validates JSON of a type.

    Raises:
        TypeError: msgspec does not support the type.
    """
    return msgspec.json.Decoder(type_, dec_hook=_from_json)


def convert(value: Any, type_: Any) -> Any:
    """Convert JSON builtins to the type.

    Raises:
        msgspec.ValidationError: they do not fit the type; names the place.
    """
    try:
        return msgspec.convert(value, type_, str_keys=True, dec_hook=_from_json)
    except TypeError as error:
        # Unhashable items of a set are only found when it is created.
        raise msgspec.ValidationError(str(error)) from None


def schemas(types: Iterable[Any]) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
    """The JSON Schema of each type, and the definitions that they refer to at `#/$defs/`.

    Raises:
        TypeError: JSON cannot represent a type; names it.
    """
    definitions: dict[str, Any] = {}

    def of_custom(type_: Any) -> dict[str, Any]:
        if type_ is object:
            # An empty text would mean that there is no default.
            return {"description": "any value"}
        if not pydantic_models.is_model(type_):
            raise TypeError(f"JSON has no form for {type_name(type_)}.")
        schema, inner = pydantic_models.schema(type_)
        definitions.update(inner)
        return schema

    found, components = msgspec.json.schema_components(types, schema_hook=of_custom, ref_template="#/$defs/{name}")
    return found, {**definitions, **components}


def check(type_: Any) -> None:
    """Raise unless values of the type can be encoded as JSON and decoded to that type again.

    Raises:
        TypeError: they cannot; says why.
    """
    schemas([type_])
    decoder(type_)
    check_constraints(type_)
    for part in _parts(msgspec_inspect.type_info(type_), set()):
        if isinstance(part, msgspec_inspect.RawType):
            raise TypeError("msgspec.Raw is JSON that is already encoded: declare Any, and pass the value itself.")
        if isinstance(part, msgspec_inspect.DictType) and not _names_a_value(part.key_type):
            raise TypeError("Keys of JSON objects can only be text, numbers, enums, dates, times or UUIDs.")
        each: Any = getattr(part, "cls", None)
        if pydantic_models.is_dataclass_of_pydantic(each):
            raise TypeError(f"{each.__name__} is a pydantic dataclass, whose validators would not run: use a model.")


def _names_a_value(part: Any) -> bool:
    """True for a type that can be a name in a JSON object."""
    if isinstance(part, msgspec_inspect.UnionType):
        return any(map(_names_a_value, part.types))
    return isinstance(part, _NAMES)


def bytes_finder(type_: Any) -> bytes_as_text.Find | None:
    """Finds bytes in values of a type that has text, and no bytes; see `bytes_as_text.finder`."""
    return bytes_as_text.finder(type_, lambda each: list(_parts(msgspec_inspect.type_info(each), set())))


def holds_mappings(type_: Any) -> bool:
    """True for a type that contains a dict, or may contain one: Any, or object."""
    parts = _parts(msgspec_inspect.type_info(type_), set())
    return any(
        isinstance(part, msgspec_inspect.DictType | msgspec_inspect.AnyType) or getattr(part, "cls", None) is object
        for part in parts
    )


def holds_moments(type_: Any) -> bool:
    """True for a type that contains a datetime or a time."""
    parts = _parts(msgspec_inspect.type_info(type_), set())
    return any(isinstance(part, msgspec_inspect.DateTimeType | msgspec_inspect.TimeType) for part in parts)


def reads_endless_numbers(type_: Any) -> bool:
    """True for a type that can parse NaN or infinity from text, as Decimal does."""
    parts = list(_parts(msgspec_inspect.type_info(type_), set()))
    keys = [part.key_type for part in parts if isinstance(part, msgspec_inspect.DictType)]
    return any(isinstance(part, msgspec_inspect.DecimalType | msgspec_inspect.CustomType) for part in parts) or any(
        isinstance(part, msgspec_inspect.FloatType) for key in keys for part in _parts(key, set())
    )


def is_of_any_depth(type_: Any) -> bool:
    """True for a type that does not limit the levels of its values: Any, a model of pydantic, or one that contains
    itself."""
    return _is_of_any_depth(msgspec_inspect.type_info(type_), frozenset())


def _is_of_any_depth(info: Any, around: frozenset[int]) -> bool:
    if isinstance(info, tuple):
        return any(_is_of_any_depth(each, around) for each in info)
    if not isinstance(info, msgspec_inspect.Type | msgspec_inspect.Field):
        return False
    if isinstance(info, msgspec_inspect.AnyType | msgspec_inspect.CustomType) or id(info) in around:
        return True
    around |= {id(info)}
    return any(_is_of_any_depth(getattr(info, name), around) for name in info.__struct_fields__)


def converts_in_part(type_: Any) -> bool:
    """True for a type that keeps JSON builtins unchanged at some depth: Any, or object."""
    parts = _parts(msgspec_inspect.type_info(type_), set())
    return any(isinstance(part, msgspec_inspect.AnyType) or getattr(part, "cls", None) is object for part in parts)


def copied(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """A deep copy of JSON builtins: it shares no list or object with `raw`."""
    if not any(type(value) in (dict, list) for value in raw.values()):
        return raw
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(raw))
    return copy


def is_class_of_its_own(type_: Any) -> bool:
    """True for a class that has no JSON form; such parameters are injected."""
    try:
        info = msgspec_inspect.type_info(type_)
    except TypeError:
        return False
    return (
        isinstance(info, msgspec_inspect.CustomType)
        and info.cls is not object
        and not pydantic_models.is_model(info.cls)
    )


def result_type(hint: Any) -> Any:
    """The type to check results against; Any if the annotation does not restrict the result.

    Raises:
        TypeError: such results cannot be encoded.
    """
    if hint in (typing.NoReturn, typing.Never, object):
        return Any
    check(hint)
    return hint


def encode_result(
    task: str,
    result: Any,
    limit: int = MAX_PAYLOAD_BYTES,
    declared: JsonDecoder | None = None,
    forms: Sequence[bytes] = EVERY_FORM,
    *,
    mappings: bool = True,
    deep: bool = True,
    text: bytes_as_text.Find | None = None,
) -> Any:
    """A task's result as JSON builtins.

    Args:
        task: the task's name.
        result: what its function returned.
        limit: largest encoded size in bytes.
        declared: decoder of the declared type; None: any JSON value is accepted.
        forms: as in `encode`.
        mappings: True if the declared type may contain a dict.
        deep: True if its values may have any number of levels.
        text: of the declared type, see `bytes_finder`.

    Raises:
        InvalidResult: JSON cannot represent it, or it does not have the declared type.
        PayloadTooLarge: more than `limit` bytes.
    """
    try:
        encoded = encode(result, forms)
    except UNENCODABLE as error:
        raise InvalidResult(task, _unencodable(result, error)) from None
    if len(encoded) > limit:
        raise PayloadTooLarge(task, "result", len(encoded), limit)
    if declared is not None:
        try:
            declared.decode(encoded)
        except UNREADABLE as error:
            raise InvalidResult(task, endless(result) or _misfit(error, declared.type)) from None
    if text is not None and type(result) is not str and (found := text(result)) is not None:
        raise InvalidResult(task, f"result{found}")
    raw = msgspec.json.decode(encoded)
    if deep and may_be_too_deep(encoded) and is_too_deep(raw):
        raise InvalidResult(task, TOO_DEEP)
    if mappings and (problem := lost_names(result, encoded, raw)):
        raise InvalidResult(task, problem)
    return raw


def _unencodable(result: Any, error: Exception) -> str:
    if inspect.iscoroutine(result):
        # It will never be awaited.
        result.close()
    if inspect.isawaitable(result):
        return f"a {type(result).__name__} that was not awaited: return what `await` gives"
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        return f"a {type(result).__name__}, of which nothing has run: return a list"
    return str(error)


def decode_result(type_: Any, raw: Any) -> Any:
    """Convert a stored result to the declared type of the function.

    Raises:
        InvalidResult: it has another type, for example because another version of the task stored it.
    """
    try:
        return convert(raw, type_)
    except msgspec.ValidationError as error:
        raise InvalidResult("the job", _misfit(error, type_)) from None


def type_name(type_: Any) -> str:
    """A type as it is written in code, without the module.

    >>> type_name(int), type_name(list[int])
    ('int', 'list[int]')
    """
    return type_.__name__ if isinstance(type_, type) and not typing.get_args(type_) else str(type_)


def _misfit(error: Exception, type_: Any) -> str:
    problem = str(error).replace("`$", "`result")
    return f"{problem}, where {type_name(type_)} is declared"


def _to_json(value: Any) -> Any:
    model: Any = type(value)
    if pydantic_models.is_model(model):
        # pydantic's own names: before msgspec sees them, a value is already lost.
        if pydantic_models.may_hold_mappings(model) and place_of(value, pydantic_models.has_one_name_twice):
            raise ValueError(_refused(ONE_NAME, value, pydantic_models.has_one_name_twice))
        return pydantic_models.dump(value)
    raise TypeError(f"Encoding objects of type {model.__name__} is unsupported")


def _from_json(type_: Any, value: Any) -> Any:
    if pydantic_models.is_model(type_):
        return pydantic_models.load(type_, value)
    if type_ is object:
        return value
    raise TypeError(f"{type_name(type_)} cannot be read from JSON")


def _parts(info: Any, seen: set[int]) -> Iterator[Any]:
    """A type and all types that it contains; `seen` ends the walk at recursive types."""
    if isinstance(info, tuple):
        for each in info:
            yield from _parts(each, seen)
    elif isinstance(info, msgspec_inspect.Type | msgspec_inspect.Field) and id(info) not in seen:
        seen.add(id(info))
        yield info
        for name in info.__struct_fields__:
            yield from _parts(getattr(info, name), seen)


_ENCODER = msgspec.json.Encoder(enc_hook=_to_json)
