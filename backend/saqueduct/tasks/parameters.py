"""Parameters: the parameters of a task function, inspected once when it is decorated."""

import dataclasses
import inspect
import typing
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, get_args, get_origin

from saqueduct.errors import RegistrationError
from saqueduct.tasks import encoding

CONTEXT = "ctx"
"""Name of the first parameter of every task."""

_MARKERS = {("dishka", "_FromComponent"), ("litestar", "Dependency"), ("litestar", "DependencyKwarg")}
"""Package and class of the markers that `FromDishka[...]` and Litestar's `NamedDependency[...]` add to a type. By name,
so that neither package is imported here."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a task; `type` is the resolved annotation."""

    name: str
    type: Any
    default: Any = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """True if the call must pass it."""
        return self.default is inspect.Parameter.empty

    def json_default(self) -> dict[str, Any]:
        """`{"default": ...}` as JSON builtins; empty without a default that JSON can represent."""
        if self.required:
            return {}
        try:
            return {"default": encoding.to_builtins(self.default)}
        except encoding.UNENCODABLE:
            return {}


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters after the context.

    Raises:
        RegistrationError: the first is not the context, or comes after the `*`.
    """
    found = list(inspect.signature(function).parameters.values())
    if not found or found[0].name != CONTEXT:
        raise RegistrationError(
            function, f"the first parameter must be the job's context: `{CONTEXT}: Context` (from saq.types)"
        )
    if found[0].kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY):
        raise RegistrationError(function, f"`{CONTEXT}` must come before the `*`, the worker passes it first")
    for parameter in found[1:]:
        _check_name_and_kind(function, parameter)
    return found[1:]


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The resolved annotations, with their `Annotated` parts.

    Raises:
        RegistrationError: one uses a name that is not defined at run time, or is no type.
    """
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise RegistrationError(
            function,
            f"the annotation {error.name!r} is not known at run time: import it outside `if TYPE_CHECKING`",
        ) from None
    except (AttributeError, SyntaxError, TypeError) as error:
        raise RegistrationError(
            function, f"an annotation cannot be evaluated: {str(error).splitlines()[0]}; correct it"
        ) from None


def dependency(hint: Any) -> Any:
    """The type to inject for an annotation, or None if JSON can represent it and no marker requests injection."""
    if get_origin(hint) is Annotated:
        for extra in filter(_is_marker, hint.__metadata__):
            # A component of the container other than the default one: `Annotated[T, FromComponent("name")]`.
            return hint if getattr(extra, "component", "") else get_args(hint)[0]
    return hint if encoding.is_class_of_its_own(hint) else None


def bare(hint: Any) -> Any:
    """An annotation without the parts that `Annotated` adds."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _is_marker(extra: Any) -> bool:
    kind = type(extra)
    return (kind.__module__.partition(".")[0], kind.__name__) in _MARKERS


def check_travels(function: Callable[..., Any], name: str, hint: Any) -> None:
    """Raise unless values of a parameter can be encoded.

    Raises:
        RegistrationError: they cannot; names the parameter, the reason and the fix.
    """
    try:
        encoding.check(hint)
    except TypeError as error:
        raise RegistrationError(
            function,
            f"the parameter {name!r} cannot be encoded as JSON ({hint}): {_reason(error)} "
            "Use types that msgspec supports, or have it injected: give it the default `INJECTED`",
        ) from None


def awaited(function: Callable[..., Any], hint: Any) -> Any:
    """The final result type of a function: for a `def` that declares an awaitable, the type of the awaited value."""
    origin = get_origin(hint) or hint
    if inspect.iscoroutinefunction(function) or not inspect.isclass(origin) or not issubclass(origin, Awaitable):
        return hint
    # The last argument, as in Coroutine[Any, Any, int].
    return get_args(hint)[-1] if get_args(hint) else Any


def returned(function: Callable[..., Any], hint: Any) -> Any:
    """The type that results are checked against.

    Raises:
        RegistrationError: such a result cannot be encoded; says why.
    """
    try:
        return encoding.result_type(hint)
    except TypeError as error:
        raise RegistrationError(
            function,
            f"the result cannot be encoded as JSON ({hint}): {_reason(error)} "
            "Return types that msgspec supports, or `None`",
        ) from None


def _reason(error: TypeError) -> str:
    return str(error).splitlines()[0].removesuffix(".") + "."


def _check_name_and_kind(function: Callable[..., Any], parameter: inspect.Parameter) -> None:
    name = parameter.name
    if name.startswith("__"):
        raise RegistrationError(function, f"the parameter {name!r} begins with two underscores: rename it")
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise RegistrationError(
            function, f"the parameter {name!r} is positional-only, but arguments are passed by name: remove the `/`"
        )
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        raise RegistrationError(
            function,
            f"`*{name}` is not possible, because arguments are passed by name: take a list `{name}: list[...]` instead",
        )
