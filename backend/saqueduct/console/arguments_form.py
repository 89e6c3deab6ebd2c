"""A form for the arguments of a task, made from the JSON schema of its signature, and read back."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from saqueduct.console.forms import Form
from saqueduct.tasks.redaction import NOT_KEPT, REDACTED
from saqueduct.tasks.task import Task

Kind = Literal["text", "long", "integer", "number", "boolean", "choice", "date", "json"]

PREFIX: Final = "arg."
"""Of the names of fields."""

FURTHER: Final = "further"
"""Field for the arguments of a task that takes any, as a JSON object."""


@dataclasses.dataclass(slots=True)
class Field:
    """One argument.

    Attributes:
        name: of the argument.
        kind: how it is entered.
        required: True: the task has no default.
        hint: type and default in words.
        choices: of the kind "choice".
        value: text in the field.
        nullable: True where null is a value.
        secret: True: its value is redacted wherever it is shown.
        problem: what is wrong with the value; empty: nothing.
    """

    name: str
    kind: Kind
    required: bool
    hint: str
    choices: Sequence[str] = ()
    value: str = ""
    nullable: bool = False
    secret: bool = False
    problem: str = ""


def fields_of(task: Task[..., Any], values: Mapping[str, Any] | None = None) -> list[Field]:
    """The fields for the arguments of a task.

    Args:
        task: the task.
        values: to begin with; redacted ones stay empty.
    """
    schema = task.signature.json_schema()
    definitions, required = schema.get("$defs", {}), set(schema.get("required", ()))
    fields = [
        _field(name, each, definitions, name in required, task.signature.hides(name))
        for name, each in schema.get("properties", {}).items()
    ]
    for field in fields:
        if values is not None and field.name in values and values[field.name] != REDACTED:
            field.value = _text(values[field.name], field)
    if task.signature.extra is not None:
        given = (values or {}).items()
        more = {name: value for name, value in given if name not in task.signature.payload and value != REDACTED}
        text = msgspec.json.format(msgspec.json.encode(more)).decode() if more else ""
        # Any name that is no parameter: all of them are hidden, or none.
        secret = task.signature.hides("")
        fields.append(Field(FURTHER, "json", False, "further arguments as a JSON object", value=text, secret=secret))
    return fields


def without_secrets(fields: Iterable[Field]) -> None:
    """Empty the fields whose values are not shown, not even to those who sent them."""
    for field in fields:
        if field.secret and field.value:
            field.value = ""
            field.problem = field.problem or "enter it again: what was sent is not shown"


def read(fields: Sequence[Field], form: Form) -> dict[str, Any]:
    """The arguments of a form that was sent. The fields keep what was sent, and what cannot be read as a problem."""
    arguments: dict[str, Any] = {}
    for field in fields:
        field.value = next(iter(form.all(PREFIX + field.name)), "").replace("\r\n", "\n")
        if field.value.strip() == "":
            if field.required and field.kind in ("text", "long"):
                arguments[field.name] = field.value
            continue
        try:
            value = _read(field)
        except (msgspec.DecodeError, ValueError):
            field.problem = _PROBLEMS[field.kind]
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
        else:
            field.problem = field.problem or (problem if field.name == name else f"{name}: {problem}")
    return "\n".join(others)


_PROBLEMS: Final[dict[str, str]] = {
    "integer": "must be a whole number",
    "number": "must be a number",
    "boolean": "must be yes or no",
    "json": 'must be JSON, such as [1, 2] or {"city": "Bonn"}; text is in double quotes',
}


def _field(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], required: bool, secret: bool) -> Field:
    plain, nullable = _without_null(_resolved(schema, definitions), definitions)
    kind = _kind(plain)
    choices = [_choice(each) for each in plain.get("enum", ())] if kind == "choice" else []
    hint = _hint(plain, definitions) + (" or null" if nullable else "")
    field = Field(name, kind, required, hint, choices, nullable=nullable, secret=secret)
    if "default" in schema and schema["default"] is not None and not secret:
        field.value = _text(schema["default"], field)
    return field


def _kind(schema: Mapping[str, Any]) -> Kind:
    if "enum" in schema:
        return "choice" if all(isinstance(each, str) for each in schema["enum"]) else "json"
    match schema.get("type"):
        case "string":
            return "date" if schema.get("format") == "date" else "text"
        case "integer":
            return "integer"
        case "number":
            return "number"
        case "boolean":
            return "boolean"
        case _:
            return "json"


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    return definitions.get(reference, {}) if reference else schema


def _without_null(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    parts = schema.get("anyOf")
    if parts is None:
        return schema, False
    others = [each for each in parts if each.get("type") != "null"]
    nullable = len(others) < len(parts)
    return (_resolved(others[0], definitions), nullable) if len(others) == 1 else ({"anyOf": others}, nullable)


def _hint(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    schema = _resolved(schema, definitions)
    if "enum" in schema:
        return "one of " + ", ".join(_choice(each) for each in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_hint(each, definitions) for each in schema["anyOf"])
    match schema.get("type"):
        case "array":
            return f"list of {_hint(schema.get('items', {}), definitions)}"
        case "object":
            members = [f"{name}: {_hint(each, definitions)}" for name, each in schema.get("properties", {}).items()]
            return f"object {{{', '.join(members)}}}" if members else "object"
        case "string":
            return {"date": "date", "date-time": "time with zone, such as 2026-05-01T09:00:00+02:00"}.get(
                schema.get("format", ""), "text"
            )
        case str(word):
            return {"integer": "whole number", "boolean": "yes or no"}.get(word, word)
        case _:
            return "any JSON"


def _choice(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _text(value: Any, field: Field) -> str:
    if isinstance(value, str) and field.kind in ("text", "long", "choice", "date"):
        if "\n" in value or len(value) > 80:
            field.kind = "long" if field.kind == "text" else field.kind
        return value
    if value is None:
        return ""
    if field.kind == "boolean" and isinstance(value, bool):
        return "true" if value else "false"
    if field.kind in ("text", "date", "choice"):
        field.kind = "json"
    encoded = msgspec.json.encode(value)
    return (msgspec.json.format(encoded) if field.kind == "json" else encoded).decode()


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
            return msgspec.json.decode(text)
        case _:
            return text
