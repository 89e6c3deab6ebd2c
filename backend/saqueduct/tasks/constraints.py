"""Constraints in annotations that msgspec does not read: those of pydantic and annotated_types."""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, get_args, get_origin

import msgspec

_PACKAGES = ("annotated_types", "pydantic")
"""By name, so that neither package is imported here."""

_REMARKS = ("DocInfo", "Unit", "WithJsonSchema", "Examples", "SkipValidation")
"""Classes of these packages that restrict no value."""


def check_constraints(type_: Any) -> None:
    """Raise if an annotation has a constraint that would be ignored, so that no call is checked by it.

    Raises:
        TypeError: it has, or a field of a class in it; names the constraint and the remedy.
    """
    for extra in _extras(type_, set()):
        if type(extra).__module__.partition(".")[0] in _PACKAGES and _restricts(extra):
            raise TypeError(
                f"{extra!r} would not be checked: write it with msgspec, such as Annotated[int, msgspec.Meta(ge=1)], "
                "or declare a pydantic model."
            )


def _restricts(extra: Any) -> bool:
    """False for documentation, and for a `Field` that has nothing but a description."""
    if type(extra).__name__ == "FieldInfo":
        return bool(extra.metadata)
    return type(extra).__name__ not in _REMARKS


def _extras(hint: Any, seen: set[Any]) -> Iterator[Any]:
    """What `Annotated` adds anywhere in an annotation, and in the fields of its classes."""
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
        hint = hint.__origin__
    # Where a NewType and a type variable have their types.
    further = [getattr(hint, name) for name in ("__supertype__", "__bound__") if getattr(hint, name, None) is not None]
    for part in (*get_args(hint), *further):
        yield from _extras(part, seen)
    class_ = get_origin(hint) or hint
    if isinstance(class_, type) and class_ not in seen and _is_decoded_by_field(class_):
        seen.add(class_)
        for each in typing.get_type_hints(class_, include_extras=True).values():
            if get_origin(each) is not ClassVar:
                yield from _extras(each, seen)


def _is_decoded_by_field(class_: type[Any]) -> bool:
    """True for a class whose fields msgspec decodes; pydantic decodes its own models."""
    return (
        issubclass(class_, msgspec.Struct)
        or dataclasses.is_dataclass(class_)
        or hasattr(class_, "__attrs_attrs__")
        # A TypedDict, also that of typing_extensions, which `typing.is_typeddict` does not know.
        or (issubclass(class_, dict) and hasattr(class_, "__total__"))
        or (issubclass(class_, tuple) and hasattr(class_, "_fields"))
    )
