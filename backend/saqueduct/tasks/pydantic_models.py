"""Pydantic models as arguments and results.

pydantic is not a dependency: a class can only be a model if pydantic is already imported. Requires version 2.11 or
newer, the first that accepts fields by name and by alias at the same time.
"""

import functools
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec


def is_model(type_: Any) -> bool:
    """True for a subclass of `pydantic.BaseModel`."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(type_, type) and issubclass(type_, pydantic.BaseModel)


def is_dataclass_of_pydantic(type_: Any) -> bool:
    """True for a class made by `pydantic.dataclasses.dataclass`: msgspec would skip its validators."""
    return hasattr(type_, "__pydantic_validator__") and not is_model(type_)


def dump(model: Any) -> Any:
    """A model as JSON builtins, by field names, which `load` accepts regardless of aliases.

    Raises:
        ValueError: JSON cannot represent the value of a field.
    """
    return model.model_dump(mode="json", by_alias=False, round_trip=True)


def load(model: Any, value: Any) -> Any:
    """An instance of the class `model` from JSON builtins, by names or aliases.

    Validated by pydantic's rules for JSON: as strict as the model's own `model_config`.

    Raises:
        ValueError: the value does not fit; names each place, without the values.
    """
    try:
        return model.model_validate_json(msgspec.json.encode(value), by_alias=True, by_name=True)
    except sys.modules["pydantic"].ValidationError as error:
        raise ValueError("; ".join(_problems(error))) from None


def schema(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON Schema of a model, and the definitions that it refers to at `#/$defs/`.

    Raises:
        TypeError: it has fields that JSON cannot represent, or secrets, which pydantic writes as asterisks, or fields
            whose values would not be restored.
    """
    prefix = re.sub(r"\W+", "_", model.__name__)
    try:
        found = model.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}")
    except sys.modules["pydantic"].errors.PydanticInvalidForJsonSchema as error:
        raise TypeError(f"the model {model.__name__}: {str(error).splitlines()[0]}.") from None
    if _holds_a_secret(found):
        raise TypeError(
            f"the model {model.__name__} has a pydantic secret, whose value pydantic does not write: "
            "declare it `str` and name the parameter in `redact`."
        )
    for fields in _nodes(model.__pydantic_core_schema__, _FIELDS):
        _check_fields(fields)
    return found, {f"{prefix}.{name}": each for name, each in found.pop("$defs", {}).items()}


@functools.lru_cache(maxsize=256)
def may_hold_mappings(model: Any) -> bool:
    """True for a class whose instances may contain a dict."""
    schema = model.__pydantic_core_schema__
    if any(True for _ in _nodes(schema, {"dict", "any"})):
        return True
    return any(node.get("extra_behavior") == "allow" for node in _nodes(schema, _FIELDS))


def has_one_name_twice(part: Any) -> bool:
    """True for a mapping with two keys that pydantic writes as the same name."""
    if not isinstance(part, Mapping) or all(type(key) is str for key in part):
        return False
    return len(sys.modules["pydantic_core"].to_jsonable_python(dict.fromkeys(part))) < len(part)


_FIELDS = {"model-fields", "dataclass-args", "typed-dict"}
"""Node types of pydantic's core schema that contain fields."""


def _nodes(schema: Any, types: set[str]) -> Iterator[dict[str, Any]]:
    """The nodes of the given types in a core schema."""
    if isinstance(schema, list | tuple):
        for each in schema:
            yield from _nodes(each, types)
    elif isinstance(schema, dict):
        if schema.get("type") in types:
            yield schema
        for name, each in schema.items():
            if name not in ("default", "metadata"):
                yield from _nodes(each, types)


def _check_fields(node: Mapping[str, Any]) -> None:
    fields = node["fields"]
    named = fields if isinstance(fields, dict) else {field["name"]: field for field in fields}
    owner = node.get("model_name") or node.get("dataclass_name") or node.get("cls_name")
    for name, field in named.items():
        if field.get("serialization_exclude") or field.get("serialization_exclude_if"):
            raise TypeError(
                f"{owner} excludes the field {name!r}, which would arrive without its value: remove `exclude`, "
                "or declare a model without the field."
            )
        for path in _paths(field.get("validation_alias")):
            if path[0] in named and path != [name]:
                raise TypeError(f"in {owner} the alias of {name!r} is the name of the field {path[0]!r}: rename one.")


def _paths(alias: str | list[Any] | None) -> list[list[Any]]:
    """Where pydantic reads a field by its alias: a name, a path, or several paths."""
    if not alias:
        return []
    if isinstance(alias, str):
        return [[alias]]
    return alias if isinstance(alias[0], list) else [alias]


def _problems(error: Any) -> list[str]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [f"{place}: {each['msg']}" if (place := _place(each["loc"])) else each["msg"] for each in found]


def _place(location: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in location)


def _holds_a_secret(found: Any) -> bool:
    if isinstance(found, list):
        return any(_holds_a_secret(each) for each in found)
    if not isinstance(found, dict):
        return False
    if found.get("format") == "password" and found.get("writeOnly") is True:
        return True
    return any(_holds_a_secret(each) for each in found.values())
