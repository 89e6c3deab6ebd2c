"""Encoding: values to JSON and back to their declared type. msgspec's strict rules, and pydantic's for its models."""

import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect as msgspec_inspect

from saqueduct.errors import InvalidResult, PayloadTooLarge
from saqueduct.tasks import pydantic_models
from saqueduct.tasks.places import has_one_name_twice, is_between_minutes, is_endless, is_half_a_pair, place_of

MAX_PAYLOAD_BYTES = 256 * 1024
"""Limit for encoded arguments and results where no setting says otherwise, in bytes."""

MAX_PAYLOAD_CEILING = 64 * 1024 * 1024
"""The largest such limit that a setting may name, in bytes: Redis takes 512 MiB in one value, and a job has two."""

EXACT = 2**53
"""Integers up to this one are the same in Python, Lua and JSON, whose numbers are doubles."""

UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What encoding raises for a value that JSON cannot carry."""

UNREADABLE = (msgspec.DecodeError, TypeError)
"""What decoding raises for JSON that is no value of the type; a set that cannot hold an item raises TypeError."""

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
"""Types of keys of a dict that msgspec writes as names of a JSON object."""


EVERY_FORM = (b"null", b'NaN"', b'nity"', b'nan"', b'inf"')
"""What NaN and infinity become: msgspec writes null for them, text of a Decimal or of a name in an object."""

ENDLESS = "JSON has no NaN and no infinity"


ONE_NAME = "two keys of this mapping have the same name in JSON, such as 1 and '1': use one type of keys"


def encode(value: Any, forms: Sequence[bytes] = EVERY_FORM) -> bytes:
    """A value as JSON.

    Args:
        value: any.
        forms: of NaN and infinity, that are looked for; see `endless_forms`.

    Raises:
        TypeError, ValueError, OverflowError, RecursionError: JSON cannot carry it; see UNENCODABLE. Those about NaN,
            infinity and lone surrogates name the place.
    """
    try:
        encoded = _ENCODER.encode(value)
    except UnicodeEncodeError:
        raise ValueError(_refused("half of a surrogate pair is no text", value, is_half_a_pair)) from None
    for form in forms:
        # `in` first tries whether it is a number: twice as slow.
        if encoded.find(form) >= 0:
            if problem := endless(value):
                raise ValueError(problem)
            break
    return encoded


def endless(value: Any) -> str:
    """That a value holds NaN or infinity, and where; empty: it does not."""
    return _refused(ENDLESS, value, is_endless) if place_of(value, is_endless) is not None else ""


def between_minutes(value: Any) -> str:
    """That a value holds a moment that would arrive as another one, and where; empty: it does not."""
    why = "its offset from UTC has seconds, which JSON's times have not: convert it, `moment.astimezone(UTC)`"
    return _refused(why, value, is_between_minutes) if place_of(value, is_between_minutes) is not None else ""


def lost_names(value: Any, encoded: bytes, raw: Any) -> str:
    """That two keys of a mapping have the same name, and where; empty: none have.

    Args:
        value: any.
        encoded: the value as JSON.
        raw: what was read of that.
    """
    if len(_ENCODER.encode(raw)) == len(encoded) or place_of(value, has_one_name_twice) is None:
        return ""
    return _refused(ONE_NAME, value, has_one_name_twice)


def endless_forms(types: Iterable[Any]) -> Sequence[bytes]:
    """The forms of NaN and infinity that pass for a value of these types; all others are refused as such."""
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
    """A value as what `json.loads` would give of it. Raises as `encode`."""
    return msgspec.json.decode(encode(value))


def decoder(type_: Any) -> JsonDecoder:
    """Reads and validates JSON of a type; for use again and again.

    Raises:
        TypeError: msgspec does not know how to read the type.
    """
    return msgspec.json.Decoder(type_, dec_hook=_from_json)


def convert(value: Any, type_: Any) -> Any:
    """JSON builtins as the type.

    Raises:
        msgspec.ValidationError: they do not fit; names the place.
    """
    try:
        return msgspec.convert(value, type_, str_keys=True, dec_hook=_from_json)
    except TypeError as error:
        # What a set cannot hold is found when it is made.
        raise msgspec.ValidationError(str(error)) from None


def schemas(types: Iterable[Any]) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
    """JSON Schema of each type, and the definitions that they refer to at `#/$defs/`.

    Raises:
        TypeError: JSON cannot carry a type; says which.
    """
    definitions: dict[str, Any] = {}

    def of_custom(type_: Any) -> dict[str, Any]:
        if type_ is object:
            # Empty would mean that there is none.
            return {"description": "any value"}
        if not pydantic_models.is_model(type_):
            raise TypeError(f"JSON has no form for {type_name(type_)}.")
        schema, inner = pydantic_models.schema(type_)
        definitions.update(inner)
        return schema

    found, components = msgspec.json.schema_components(types, schema_hook=of_custom, ref_template="#/$defs/{name}")
    return found, {**definitions, **components}


def check(type_: Any) -> None:
    """Raise unless values of the type can travel as JSON and come back as that type.

    Raises:
        TypeError: they cannot; says why.
    """
    schemas([type_])
    decoder(type_)
    for part in _parts(msgspec_inspect.type_info(type_), set()):
        if isinstance(part, msgspec_inspect.DictType) and not _names_a_value(part.key_type):
            raise TypeError("JSON objects have text, numbers, enums, moments or UUIDs as names, nothing else.")
        each: Any = getattr(part, "cls", None)
        if pydantic_models.is_dataclass_of_pydantic(each):
            raise TypeError(f"{each.__name__} is a pydantic dataclass, whose validators would not run: use a model.")


def _names_a_value(part: Any) -> bool:
    """True for a type that JSON can carry as the name of a value in an object."""
    if isinstance(part, msgspec_inspect.UnionType):
        return any(map(_names_a_value, part.types))
    return isinstance(part, _NAMES)


def holds_mappings(type_: Any) -> bool:
    """True for a type that holds a dict, or may hold one: Any, or object."""
    parts = _parts(msgspec_inspect.type_info(type_), set())
    return any(
        isinstance(part, msgspec_inspect.DictType | msgspec_inspect.AnyType) or getattr(part, "cls", None) is object
        for part in parts
    )


def holds_moments(type_: Any) -> bool:
    """True for a type that holds a datetime or a time."""
    parts = _parts(msgspec_inspect.type_info(type_), set())
    return any(isinstance(part, msgspec_inspect.DateTimeType | msgspec_inspect.TimeType) for part in parts)


def reads_endless_numbers(type_: Any) -> bool:
    """True for a type that may read NaN or infinity out of a text, as Decimal does."""
    parts = list(_parts(msgspec_inspect.type_info(type_), set()))
    keys = [part.key_type for part in parts if isinstance(part, msgspec_inspect.DictType)]
    return any(isinstance(part, msgspec_inspect.DecimalType | msgspec_inspect.CustomType) for part in parts) or any(
        isinstance(part, msgspec_inspect.FloatType) for key in keys for part in _parts(key, set())
    )


def converts_in_part(type_: Any) -> bool:
    """True for a type that leaves JSON builtins as they are, at some depth: Any, or object."""
    parts = _parts(msgspec_inspect.type_info(type_), set())
    return any(isinstance(part, msgspec_inspect.AnyType) or getattr(part, "cls", None) is object for part in parts)


def copied(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """JSON builtins by name, none of whose lists and objects are those of `raw`."""
    if not any(type(value) in (dict, list) for value in raw.values()):
        return raw
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(raw))
    return copy


def is_class_of_its_own(type_: Any) -> bool:
    """True for a class that JSON has no form for; such parameters are injected."""
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
    """The type to check results by: Any for those that say nothing of what comes back.

    Raises:
        TypeError: such results cannot travel.
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
) -> Any:
    """A task's result as JSON builtins.

    Args:
        task: its name.
        result: what its function returned.
        limit: largest encoded size in bytes; None, booleans and small integers are always let through.
        declared: reads the type that the function declares; None: anything that JSON can carry goes.
        forms: as in `encode`.
        mappings: whether the declared type may hold a dict.

    Raises:
        InvalidResult: JSON cannot carry it, or it is something else than declared.
        PayloadTooLarge: more than `limit` bytes.
    """
    if _is_plain(result) and (declared is None or declared.type is type(result)):
        return result
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
    raw = msgspec.json.decode(encoded)
    if mappings and (problem := lost_names(result, encoded, raw)):
        raise InvalidResult(task, problem)
    return raw


def _unencodable(result: Any, error: Exception) -> str:
    if inspect.iscoroutine(result):
        # Nobody will await it.
        result.close()
    if inspect.isawaitable(result):
        return f"a {type(result).__name__} that was not awaited: return what `await` gives"
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        return f"a {type(result).__name__}, of which nothing has run: return a list"
    return str(error)


def _is_plain(value: Any) -> bool:
    """True for a small value that JSON would bring back as it is: most results are such."""
    return value is None or type(value) is bool or (type(value) is int and -EXACT <= value <= EXACT)


def decode_result(type_: Any, raw: Any) -> Any:
    """A stored result as the type that the function declares.

    Raises:
        InvalidResult: it is something else, such as the result of another version of the task.
    """
    try:
        return convert(raw, type_)
    except msgspec.ValidationError as error:
        raise InvalidResult("the job", _misfit(error, type_)) from None


def type_name(type_: Any) -> str:
    """A type as it stands in the code, without the module.

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
        # pydantic's own names: by the time that msgspec sees them, a value is lost.
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
    """A type and all that it holds; `seen` ends the walk where types hold themselves."""
    if isinstance(info, tuple):
        for each in info:
            yield from _parts(each, seen)
    elif isinstance(info, msgspec_inspect.Type | msgspec_inspect.Field) and id(info) not in seen:
        seen.add(id(info))
        yield info
        for name in info.__struct_fields__:
            yield from _parts(getattr(info, name), seen)


_ENCODER = msgspec.json.Encoder(enc_hook=_to_json)
