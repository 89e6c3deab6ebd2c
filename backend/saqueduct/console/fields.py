"""The fields of a form, made from the JSON schema and the types of arguments."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from saqueduct.console.wall_times import split

Kind = Literal[
    "text", "long", "integer", "number", "boolean", "choice", "date", "moment", "json", "constant", "group", "variants"
]

Schema = Mapping[str, Any]

DEFAULT: Final = ""
NULL: Final = "null"
"""Choices of a field of the kind "variants" beside the numbers of its children: leave the argument out, and null."""

DEEPEST: Final = 5
"""Levels of fields within fields; what is deeper is entered as JSON."""


@dataclasses.dataclass(slots=True)
class Field:
    """One argument, or a part of one.

    Attributes:
        name: of the input: the argument's, with those of its parts, such as "address.street".
        label: the last part of the name.
        kind: how it is entered; "group" has a child for each member of an object, "variants" one for each type of a
            union, of which the value is the number.
        required: True: there is no default.
        hint: type and default in words.
        choices: of the kind "choice"; of "variants" what the children are; of "constant" its value.
        value: text in the field.
        zone: of the kind "moment"; empty: none.
        nullable: True where null is a value.
        secret: True: its value is redacted wherever it is shown.
        problem: what is wrong with the value; empty: nothing.
        children: see `kind`.
    """

    name: str
    label: str
    kind: Kind
    required: bool
    hint: str
    choices: Sequence[str] = ()
    value: str = ""
    zone: str = ""
    nullable: bool = False
    secret: bool = False
    problem: str = ""
    children: "Sequence[Field]" = ()


def field_of(name: str, schema: Schema, definitions: Schema, types: Any, *, required: bool, secret: bool) -> Field:
    """The field of an argument.

    Args:
        name: of the argument.
        schema: of its values.
        definitions: to which schemas refer.
        types: its type as `msgspec.inspect` describes it: schemas do not tell a time from other text.
        required: True: it has no default.
        secret: True: it is one field, whose value is not shown.
    """
    builder = _Builder(definitions, frozenset(_moments(types, ())), flat=secret)
    field = builder.field(name, name, (), schema, required, 0)
    field.secret = secret
    return field


class _Builder:
    """Makes a field and those within it.

    Args:
        definitions: to which schemas refer.
        moments: paths of the members that are times.
        flat: True: no fields within fields.
    """

    def __init__(self, definitions: Schema, moments: frozenset[tuple[str, ...]], *, flat: bool) -> None:
        self._definitions = definitions
        self._moments = moments
        self._flat = flat

    def field(self, name: str, label: str, path: tuple[str, ...], schema: Schema, required: bool, level: int) -> Field:
        """The field of a schema; `path` has the members that lead to it."""
        plain, nullable = self._without_null(schema)
        kind = self._kind(plain, path)
        hint = "date and time" if kind == "moment" else self.hint(plain)
        field = Field(name, label, kind, required, hint + (" or null" if nullable else ""))
        field.nullable = nullable
        if kind == "choice":
            field.choices = [_choice(each) for each in plain["enum"]]
        if self._flat or level >= DEEPEST:
            return field
        if parts := plain.get("anyOf"):
            return self._variants(field, path, parts, level)
        if plain.get("properties"):
            if nullable or (not required and "default" not in schema):
                return self._variants(field, path, [plain], level)
            return self._group(field, path, plain, level)
        return field

    def hint(self, schema: Schema) -> str:
        """A type in words."""
        schema = self._resolved(schema)
        if "enum" in schema:
            return "one of " + ", ".join(_choice(each) for each in schema["enum"])
        if "anyOf" in schema:
            return " or ".join(self.hint(each) for each in schema["anyOf"])
        match schema.get("type"):
            case "array":
                return f"list of {self.hint(schema.get('items', {}))}"
            case "object":
                names = ", ".join(schema.get("properties", ()))
                return f"object {{{names}}}" if names else "object"
            case "string":
                return {"date": "date", "date-time": "time"}.get(schema.get("format", ""), "text")
            case str(word):
                return {"integer": "whole number", "boolean": "yes or no"}.get(word, word)
            case _:
                return "any JSON"

    def _group(self, field: Field, path: tuple[str, ...], schema: Schema, level: int) -> Field:
        required = set(schema.get("required", ()))
        field.kind = "group"
        field.children = [
            self._member(f"{field.name}.{name}", name, (*path, name), each, name in required, level)
            for name, each in schema["properties"].items()
        ]
        return field

    def _member(
        self, name: str, label: str, path: tuple[str, ...], schema: Schema, required: bool, level: int
    ) -> Field:
        only = schema.get("enum", ())
        if len(only) == 1 and required and isinstance(only[0], str):
            # The tag that tells the types of a union apart.
            return Field(name, label, "constant", True, "", choices=only)
        field = self.field(name, label, path, schema, required, level + 1)
        if "default" in schema:
            fill(field, schema["default"])
        return field

    def _variants(self, field: Field, path: tuple[str, ...], parts: Sequence[Schema], level: int) -> Field:
        schemas = [self._resolved(part) for part in parts]
        field.kind = "variants"
        field.choices = [schema.get("title") or self.hint(schema) for schema in schemas]
        field.value = "0" if field.required and not field.nullable else DEFAULT
        field.children = [
            self.field(f"{field.name}|{number}", label, path, schema, True, level + 1)
            for number, (label, schema) in enumerate(zip(field.choices, schemas, strict=True))
        ]
        return field

    def _kind(self, schema: Schema, path: tuple[str, ...]) -> Kind:
        if "enum" in schema:
            return "choice" if all(isinstance(each, str) for each in schema["enum"]) else "json"
        match schema.get("type"):
            case "string" if path in self._moments or schema.get("format") == "date-time":
                return "moment"
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

    def _resolved(self, schema: Schema) -> Schema:
        reference = schema.get("$ref", "").removeprefix("#/$defs/")
        found: Schema = self._definitions.get(reference, {}) if reference else schema
        return found

    def _without_null(self, schema: Schema) -> tuple[Schema, bool]:
        schema = self._resolved(schema)
        parts = schema.get("anyOf")
        if parts is None:
            return schema, False
        others = [each for each in parts if each.get("type") != "null"]
        nullable = len(others) < len(parts)
        return (self._resolved(others[0]), nullable) if len(others) == 1 else ({"anyOf": others}, nullable)


def fill(field: Field, value: Any) -> None:
    """Put a value into a field; as JSON where the field has no other place for it."""
    if field.kind == "group" and isinstance(value, dict):
        for child in field.children:
            if child.label in value:
                fill(child, value[child.label])
    elif field.kind == "variants":
        _choose(field, value)
    elif field.kind != "constant":
        field.value = _text(value, field)


def _choose(field: Field, value: Any) -> None:
    if value is None:
        field.value = NULL if field.nullable and field.required else DEFAULT
        return
    number = next((number for number, child in enumerate(field.children) if _fits(value, child)), None)
    if number is None:
        field.kind, field.children = "json", ()
        field.value = _text(value, field)
        return
    field.value = str(number)
    fill(field.children[number], value)


def _fits(value: Any, field: Field) -> bool:
    match field.kind:
        case "group":
            members = {child.label: child for child in field.children}
            return (
                isinstance(value, dict)
                and value.keys() <= members.keys()
                and all(name in value for name, child in members.items() if child.required)
                and all(_fits(each, members[name]) for name, each in value.items())
            )
        case "variants":
            return (value is None and field.nullable) or any(_fits(value, child) for child in field.children)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "choice" | "constant":
            return value in field.choices
        case "json":
            return True
        case _:
            return isinstance(value, str) or (value is None and field.nullable)


def _moments(found: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of the members of a type that are times."""
    match found:
        case msgspec.inspect.DateTimeType():
            yield path
        case msgspec.inspect.UnionType():
            for each in found.types:
                yield from _moments(each, path)
        case msgspec.inspect.StructType() | msgspec.inspect.DataclassType() | msgspec.inspect.TypedDictType():
            for member in found.fields if len(path) < DEEPEST else ():
                yield from _moments(member.type, (*path, member.encode_name))


def _choice(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _text(value: Any, field: Field) -> str:
    if isinstance(value, str) and field.kind == "moment":
        return _wall(value, field)
    if isinstance(value, str) and field.kind in ("text", "long", "choice", "date"):
        if "\n" in value or len(value) > 80:
            field.kind = "long" if field.kind == "text" else field.kind
        return value
    if value is None:
        return ""
    if field.kind == "boolean" and isinstance(value, bool):
        return "true" if value else "false"
    if field.kind not in ("integer", "number"):
        field.kind, field.children = "json", ()
    encoded = msgspec.json.encode(value)
    return (msgspec.json.format(encoded) if field.kind == "json" else encoded).decode()


def _wall(text: str, field: Field) -> str:
    """The clock's part of a time; its zone is put into the field. As text where a browser has no field for it."""
    if (parts := split(text)) is None:
        field.kind = "text"
        return text
    wall, field.zone = parts
    return wall
