"""A form for the arguments of a task, made from its signature, and read back."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from saqueduct.common.strict_json import NestedTooDeep, RepeatedMember, decode
from saqueduct.console.fields import DEFAULT, NULL, Field, field_of, fill
from saqueduct.console.forms import Form
from saqueduct.console.wall_times import joined
from saqueduct.tasks.redaction import NOT_KEPT, REDACTED
from saqueduct.tasks.task import Task

PREFIX: Final = "arg."
"""Of the names of fields."""

ZONE: Final = "zone."
"""Of the names of the fields with the zones of times."""

FURTHER: Final = "further"
"""Field for the arguments of a task that takes any, as a JSON object."""

_AT: Final = re.compile(r" - at `([^`]+)`$")
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")


def fields_of(task: Task[..., Any], values: Mapping[str, Any] | None = None) -> list[Field]:
    """The fields for the arguments of a task.

    Args:
        task: the task.
        values: to begin with; redacted ones stay empty.
    """
    signature = task.signature
    schema = signature.json_schema()
    definitions, required = schema.get("$defs", {}), set(schema.get("required", ()))
    fields: list[Field] = []
    for name, each in schema.get("properties", {}).items():
        types, secret = msgspec.inspect.type_info(signature.payload[name].type), signature.hides(name)
        field = field_of(name, each, definitions, types, required=name in required, secret=secret)
        if "default" in each and each["default"] is not None and not secret:
            fill(field, each["default"])
        if values is not None and name in values and values[name] != REDACTED:
            fill(field, values[name])
        fields.append(field)
    if signature.extra is not None:
        given = (values or {}).items()
        more = {name: value for name, value in given if name not in signature.payload and value != REDACTED}
        text = msgspec.json.format(msgspec.json.encode(more)).decode() if more else ""
        # Any name that is no parameter: all of them are hidden, or none.
        hint, secret = "further arguments as a JSON object", signature.hides("")
        fields.append(Field(FURTHER, FURTHER, "json", False, hint, value=text, secret=secret))
    return fields


def without_secrets(fields: Iterable[Field]) -> None:
    """Empty the fields whose values are not shown, not even to those who sent them."""
    for field in fields:
        if field.secret and field.value:
            field.value = ""
            field.problem = field.problem or "enter it again: what was sent is not shown"


def has_times(fields: Iterable[Field]) -> bool:
    """True when one of them is a time with a zone."""
    return any(field.kind == "moment" for field in _all(fields))


def has_problems(fields: Iterable[Field]) -> bool:
    """True when something cannot be read."""
    return any(field.problem for field in _all(fields))


def read(fields: Sequence[Field], form: Form) -> dict[str, Any]:
    """The arguments of a form that was sent. The fields keep what was sent, and what cannot be read as a problem."""
    arguments: dict[str, Any] = {}
    for field in fields:
        _take(field, form)
        value = _value(field)
        if value is msgspec.UNSET:
            continue
        if field.secret and value == REDACTED:
            field.problem = NOT_KEPT
        elif field.name != FURTHER:
            arguments[field.name] = value
        elif isinstance(value, dict):
            arguments |= value
        else:
            field.problem = "must be a JSON object with one member for each argument"
    return arguments


def report(fields: Sequence[Field], problems: Mapping[str, str]) -> str:
    """Note at each field what is wrong with it; returns what belongs to none."""
    by_name = {field.name: field for field in fields}
    others = []
    for name, problem in problems.items():
        field = by_name.get(name) or by_name.get(FURTHER)
        if field is None:
            others.append(f"{name}: {problem}")
        elif field.name != name:
            field.problem = field.problem or f"{name}: {problem}"
        else:
            part, text = _place(field, problem)
            part.problem = part.problem or text
    return "\n".join(others)


def report_others(fields: Sequence[Field], problems: Mapping[str, str]) -> None:
    """The same for the fields that could be read: what the others lack is only that."""
    unread = {field.name for field in fields if has_problems([field])}
    report(fields, {name: problem for name, problem in problems.items() if name not in unread})


_PROBLEMS: Final[dict[str, str]] = {
    "integer": "must be a whole number",
    "number": "must be a number",
    "boolean": "must be yes or no",
    "json": 'must be JSON, such as [1, 2] or {"city": "Bonn"}; text is in double quotes',
}


def _all(fields: Iterable[Field]) -> Iterator[Field]:
    for field in fields:
        yield field
        yield from _all(field.children)


def _take(field: Field, form: Form) -> None:
    """Put what was sent into a field and those within it."""
    if field.kind not in ("constant", "group"):
        field.value = next(iter(form.all(PREFIX + field.name)), "").replace("\r\n", "\n")
    if field.kind == "moment":
        field.zone = form.text(ZONE + field.name)
    for child in field.children:
        _take(child, form)


def _value(field: Field) -> Any:
    """The value of a field; UNSET: it is left out, or has a problem."""
    if field.kind == "constant":
        return field.choices[0]
    if field.kind == "group":
        members = {child.label: _value(child) for child in field.children}
        return {name: value for name, value in members.items() if value is not msgspec.UNSET}
    if field.kind == "variants":
        return _of_variant(field)
    if field.value.strip() == "":
        return field.value if field.required and field.kind in ("text", "long") else msgspec.UNSET
    try:
        return _read(field)
    except (RepeatedMember, NestedTooDeep) as error:
        field.problem = str(error)
        return msgspec.UNSET
    except (msgspec.DecodeError, ValueError) as error:
        field.problem = _PROBLEMS.get(field.kind) or str(error)
        return msgspec.UNSET


def _of_variant(field: Field) -> Any:
    if field.value == DEFAULT:
        return msgspec.UNSET
    if field.value == NULL and field.nullable:
        return None
    chosen = _chosen(field)
    if chosen is not None:
        return _value(chosen)
    # A value that fits none of the kinds is entered as JSON, see `fields.fill`.
    try:
        value = decode(field.value)
    except RepeatedMember as error:
        field.problem = str(error)
        return msgspec.UNSET
    except (msgspec.DecodeError, ValueError):
        field.problem = "choose one of the kinds"
        return msgspec.UNSET
    field.kind, field.children = "json", ()
    return value


def _chosen(field: Field) -> Field | None:
    number = int(field.value) if field.value.isascii() and field.value.isdecimal() and len(field.value) < 4 else -1
    return field.children[number] if 0 <= number < len(field.children) else None


def _place(field: Field, problem: str) -> tuple[Field, str]:
    """The innermost field that a problem of an argument names, and what is wrong with it."""
    found = _AT.search(problem)
    text = problem[: found.start()] if found else problem
    members = found[1].split(".")[1:] if found else []
    if missing := _MISSING.search(text):
        members.append(missing[1])
    for member in members:
        inner = _chosen(field) if field.kind == "variants" else field
        child = next((each for each in inner.children if each.label == member), None) if inner is not None else None
        if child is None:
            # Within a list, or of a kind that is entered as JSON.
            return field, problem
        field = child
    return (field, "is required") if missing and members else (field, text)


def _read(field: Field) -> Any:
    text = field.value
    match field.kind:
        case "integer":
            return int(text.strip())
        case "number":
            return msgspec.json.decode(text.strip(), type=int | float)
        case "boolean":
            return msgspec.json.decode(text, type=bool)
        case "json":
            return decode(text)
        case "moment":
            return joined(text, field.zone)
        case _:
            return text
