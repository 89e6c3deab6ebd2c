"""The payload: the arguments of a task that travel, validated and encoded by the function's signature.

Arguments are encoded to JSON first and validated in that form, so a call is refused exactly when the worker would
refuse the job. Parameters that JSON cannot carry are no payload: they are injected (see `injection.py`).
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

import msgspec
from dishka import FromDishka
from msgspec import inspect as msgspec_inspect

from app.queue.errors import InvalidArguments, InvalidResult, PayloadTooLarge, RegistrationError

CONTEXT = "ctx"
"""Name that the first parameter of every task has."""

MAX_PAYLOAD_BYTES = 256 * 1024
"""Limit for encoded arguments and results where no setting says otherwise, in bytes."""

INJECTED: Any = ...
"""Default for injected parameters: with it a type checker lets a call leave them out.

    @task
    async def close(ctx: Context, *, user_id: int, db_session: AsyncSession = INJECTED) -> None: ...

    await close.enqueue(user_id=7)
"""

_INJECTED = type(get_args(FromDishka[int])[1])  # type: ignore[misc]
_UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a task; `type` is the resolved annotation."""

    name: str
    type: Any
    default: Any = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """True when the call must give it."""
        return self.default is inspect.Parameter.empty


class Signature:
    """What a task function takes: the context, the payload, and what is injected.

    Attributes:
        payload: parameters whose values travel with the job.
        injected: parameters filled from the container, name -> type.
        positional: payload parameters that a call may give by position, in order.
        returns: declared type of the result; Any where none is declared, or JSON cannot carry it.
        extra: type of the values of a `**kwargs` parameter, which takes any further argument; None without one.

    Raises:
        RegistrationError: the function cannot be a task; the message names the parameter and the remedy.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.task = function.__name__
        self.payload: dict[str, Parameter] = {}
        self.injected: dict[str, Any] = {}
        self.positional: list[str] = []
        self.extra: Any = None
        hints = _type_hints(function)
        self.returns: Any = _returned(hints.get("return", Any))
        context, *parameters = _parameters(function)
        _check_context(function, context)
        for parameter in parameters:
            self._add(function, parameter, hints.get(parameter.name, Any))

    def _add(self, function: Callable[..., Any], parameter: inspect.Parameter, hint: Any) -> None:
        name = parameter.name
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise RegistrationError(
                function, f"the parameter {name!r} is positional-only, jobs carry names: remove the `/`"
            )
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise RegistrationError(
                function,
                f"`*{name}` cannot travel, jobs carry names: take a list `{name}: list[...]` instead",
            )
        if (dependency := _dependency(hint)) is not None:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                raise RegistrationError(function, f"`**{name}` cannot be injected: name each dependency")
            self.injected[name] = dependency
            return
        _check_encodable(function, name, hint)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            self.extra = hint
        else:
            self.payload[name] = Parameter(name, hint, parameter.default)
            if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
                self.positional.append(name)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name.

        Raises:
            InvalidArguments: too many by position, or one given twice.
        """
        if len(args) > len(self.positional):
            raise InvalidArguments(self.task, {"arguments": f"at most {len(self.positional)} go by position"})
        by_position = dict(zip(self.positional, args, strict=False))
        if twice := by_position.keys() & kwargs.keys():
            raise InvalidArguments(self.task, dict.fromkeys(sorted(twice), "given twice"))
        return {**by_position, **kwargs}

    def defaults(self) -> dict[str, Any]:
        """The defaults of the payload as JSON builtins; those that JSON cannot carry are left out."""
        parameters = self.payload.values()
        return {each.name: found["default"] for each in parameters if "default" in (found := _default(each))}

    def encode(self, arguments: Mapping[str, Any], limit: int = MAX_PAYLOAD_BYTES) -> dict[str, Any]:
        """Validate arguments and return them as JSON builtins.

        Args:
            arguments: Python values or JSON builtins, by parameter name.
            limit: largest encoded size in bytes.

        Raises:
            InvalidArguments: missing, unknown, wrong or unencodable arguments; each is named.
            PayloadTooLarge: more than `limit` bytes.
        """
        try:
            encoded = msgspec.json.encode(arguments)
        except _UNENCODABLE:
            raise InvalidArguments(self.task, _encoding_problems(arguments)) from None
        if len(encoded) > limit:
            raise PayloadTooLarge(self.task, "arguments", len(encoded), limit)
        raw: dict[str, Any] = msgspec.json.decode(encoded)
        self.decode(raw)
        return raw

    def decode(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Validate JSON builtins and return them as the declared types; left out defaults stay left out.

        Raises:
            InvalidArguments: missing, unknown or wrong arguments; each is named.
        """
        problems: dict[str, str] = {}
        arguments: dict[str, Any] = {}
        for name, parameter in self.payload.items():
            if name in raw:
                _convert(raw[name], parameter.type, name, arguments, problems)
            elif parameter.required:
                problems[name] = "missing"
        if not raw.keys() <= self.payload.keys():
            self._decode_extra(raw, arguments, problems)
        if problems:
            raise InvalidArguments(self.task, problems)
        return arguments

    def _decode_extra(self, raw: Mapping[str, Any], arguments: dict[str, Any], problems: dict[str, str]) -> None:
        known = ", ".join(self.payload) or "none"
        for name in raw.keys() - self.payload.keys():
            if name in self.injected:
                problems[name] = "is injected by the worker and cannot be passed"
            elif name == CONTEXT or self.extra is None:
                problems[name] = f"unknown argument (there are: {known})"
            else:
                _convert(raw[name], self.extra, name, arguments, problems)

    def json_schema(self) -> dict[str, Any]:
        """The payload as JSON Schema (draft 2020-12) of one object."""
        types = [parameter.type for parameter in self.payload.values()]
        schemas, components = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
        properties = {}
        for parameter, schema in zip(self.payload.values(), schemas, strict=True):
            properties[parameter.name] = schema | _default(parameter)
        result: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "required": [name for name, parameter in self.payload.items() if parameter.required],
            "additionalProperties": self.extra is not None,
        }
        return result | ({"$defs": components} if components else {})


def decode_result(type_: Any, raw: Any) -> Any:
    """A stored result as the type that the function declares.

    Raises:
        InvalidResult: it is something else.
    """
    try:
        return msgspec.convert(raw, type_, str_keys=True)
    except msgspec.ValidationError as error:
        raise InvalidResult("the job", f"{error}, where {type_} is declared") from None


def encode_result(task: str, result: Any, limit: int = MAX_PAYLOAD_BYTES) -> Any:
    """Return a task's result as JSON builtins.

    Raises:
        InvalidResult: JSON cannot carry it.
        PayloadTooLarge: more than `limit` bytes.
    """
    if result is None:
        return None
    try:
        encoded = msgspec.json.encode(result)
    except _UNENCODABLE as error:
        raise InvalidResult(task, str(error)) from None
    if len(encoded) > limit:
        raise PayloadTooLarge(task, "result", len(encoded), limit)
    return msgspec.json.decode(encoded)


def _convert(value: Any, type_: Any, name: str, arguments: dict[str, Any], problems: dict[str, str]) -> None:
    try:
        arguments[name] = msgspec.convert(value, type_, str_keys=True)
    except msgspec.ValidationError as error:
        problems[name] = str(error).replace("`$", f"`{name}")


def _encoding_problems(arguments: Mapping[str, Any]) -> dict[str, str]:
    problems = {}
    for name, value in arguments.items():
        try:
            msgspec.json.encode(value)
        except _UNENCODABLE as error:
            problems[str(name)] = f"cannot be encoded as JSON: {error}"
    return problems or {"arguments": "cannot be encoded as JSON"}


def _returned(hint: Any) -> Any:
    try:
        msgspec.json.schema_components([hint])
    except TypeError:
        return Any
    return hint


def _default(parameter: Parameter) -> dict[str, Any]:
    if parameter.required:
        return {}
    try:
        return {"default": msgspec.to_builtins(parameter.default)}
    except _UNENCODABLE:
        return {}


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].name != CONTEXT:
        raise RegistrationError(
            function, f"the first parameter must be the job's context: `{CONTEXT}: Context` (from saq.types)"
        )
    return parameters


def _check_context(function: Callable[..., Any], parameter: inspect.Parameter) -> None:
    if parameter.kind not in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.POSITIONAL_ONLY,
    ):
        raise RegistrationError(function, f"`{CONTEXT}` must stand before the `*`, the worker passes it first")


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise RegistrationError(
            function,
            f"the annotation {error.name!r} is not known at run time: import it outside `if TYPE_CHECKING`",
        ) from None


def _dependency(hint: Any) -> Any:
    """The type to inject for an annotation, or None when it is payload."""
    if get_origin(hint) is Annotated and any(isinstance(extra, _INJECTED) for extra in hint.__metadata__):
        return get_args(hint)[0]
    try:
        info = msgspec_inspect.type_info(hint)
    except TypeError:
        return None
    if isinstance(info, msgspec_inspect.CustomType) and info.cls is not object:
        return hint
    return None


def _check_encodable(function: Callable[..., Any], name: str, hint: Any) -> None:
    try:
        msgspec.json.schema_components([hint])
    except TypeError as error:
        reason = str(error).splitlines()[0]
        raise RegistrationError(
            function,
            f"the parameter {name!r} cannot travel as JSON ({hint}): {reason} "
            "Use types that msgspec supports, or inject it: `FromDishka[...]`",
        ) from None
