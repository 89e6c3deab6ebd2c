"""Pydantic models as arguments and results.

pydantic is no dependency: a class can only be a model where somebody has imported pydantic already. Version 2.11 or
newer, the first that reads fields by name and by alias at once.
"""

import re
import sys
from typing import Any

import msgspec


def is_model(type_: Any) -> bool:
    """True for a subclass of `pydantic.BaseModel`."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(type_, type) and issubclass(type_, pydantic.BaseModel)


def is_dataclass_of_pydantic(type_: Any) -> bool:
    """True for what `pydantic.dataclasses.dataclass` has made: msgspec would read it past its validators."""
    return hasattr(type_, "__pydantic_validator__") and not is_model(type_)


def dump(model: Any) -> Any:
    """A model as JSON builtins, by the names of its fields, which `load` takes whatever the aliases.

    Raises:
        ValueError: a field holds what JSON cannot carry.
    """
    return model.model_dump(mode="json", by_alias=False, round_trip=True)


def load(model: Any, value: Any) -> Any:
    """An instance of the class `model` out of JSON builtins, by names or aliases.

    Validated by pydantic's rules for JSON: as strict as the model's own `model_config`.

    Raises:
        ValueError: it does not fit; names each place, without the values.
    """
    try:
        return model.model_validate_json(msgspec.json.encode(value), by_alias=True, by_name=True)
    except sys.modules["pydantic"].ValidationError as error:
        raise ValueError("; ".join(_problems(error))) from None


def schema(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON Schema of a model, and the definitions that it refers to at `#/$defs/`.

    Raises:
        TypeError: it has fields that JSON cannot carry, or secrets, which pydantic writes as asterisks.
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
    return found, {f"{prefix}.{name}": each for name, each in found.pop("$defs", {}).items()}


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
