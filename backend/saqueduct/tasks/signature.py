"""The payload: the arguments stored with a job, validated and encoded by the function's signature.

Arguments are encoded to JSON first and validated in that form, so a call is refused exactly when the worker would
refuse the job. Parameters that JSON cannot represent are not payload: they are injected (see `saqueduct.injection`).
"""

import functools
import inspect
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from saqueduct.errors import InvalidArguments, PayloadMismatch, PayloadTooLarge, RegistrationError
from saqueduct.tasks import encoding
from saqueduct.tasks.bytes_as_text import found_in
from saqueduct.tasks.encoding import EXACT, MAX_PAYLOAD_BYTES, decode_result, encode_result
from saqueduct.tasks.nesting import TOO_DEEP, is_too_deep, may_be_too_deep
from saqueduct.tasks.parameters import (
    CONTEXT,
    Parameter,
    awaited,
    bare,
    check_travels,
    dependency,
    parameters,
    returned,
    type_hints,
)
from saqueduct.tasks.places import is_endless, place_of
from saqueduct.tasks.redaction import NO_SECRETS, REDACTED, Secrets

__all__ = [
    "CONTEXT",
    "INJECTED",
    "MAX_PAYLOAD_BYTES",
    "Signature",
    "decode_result",
    "encode_result",
]

INJECTED: Any = ...
"""Default for injected parameters: with it a type checker allows calls to omit them.

    @task
    async def close(ctx: Context, *, user_id: int, db_session: AsyncSession = INJECTED) -> None: ...

    await close.enqueue(user_id=7)

A parameter with this default is injected even if JSON could represent its type.
"""

_PLAIN = (type(None), bool, int)
"""Types that JSON keeps unchanged, integers up to EXACT."""

logger = logging.getLogger("saqueduct")


class Signature:
    """The parameters of a task function: the context, the payload, and the injected ones.

    Args:
        function: the task's function.
        redact: names of parameters whose values stay out of logs, errors and web pages; the name of a `**kwargs`
            parameter covers all arguments that it receives.

    Attributes:
        task: the task's name.
        payload: parameters whose values are stored with the job.
        injected: parameters filled by the injector, name -> type.
        positional: payload parameters that a call may pass by position, in order.
        returns: declared type of the result; Any if none is declared.
        extra: type of the values of a `**kwargs` parameter, which accepts any further argument; None without one.
        redact: as given.

    Raises:
        RegistrationError: the function cannot be a task; the message names the parameter and the fix.
    """

    def __init__(self, function: Callable[..., Any], redact: Collection[str] = ()) -> None:
        self.task = function.__name__
        self.payload: dict[str, Parameter] = {}
        self.injected: dict[str, Any] = {}
        self.positional: list[str] = []
        self.extra: Any = None
        self._extra_name = ""
        hints = type_hints(function)
        self.returns: Any = returned(function, awaited(function, hints.get("return", Any)))
        for parameter in parameters(function):
            self._add(function, parameter, hints.get(parameter.name, Any))
        self.redact = frozenset(redact)
        self._check_redact(function)
        self._prepare()

    def _add(self, function: Callable[..., Any], parameter: inspect.Parameter, hint: Any) -> None:
        name, further = parameter.name, parameter.kind is inspect.Parameter.VAR_KEYWORD
        injected = dependency(hint)
        if injected is None and parameter.default is INJECTED:
            injected = bare(hint)
        if injected is not None:
            if further:
                raise RegistrationError(function, f"`**{name}` cannot be injected: name each dependency")
            self.injected[name] = injected
            return
        check_travels(function, name, hint)
        if further:
            self.extra, self._extra_name = hint, name
            return
        self.payload[name] = Parameter(name, hint, parameter.default)
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            self.positional.append(name)

    def _check_redact(self, function: Callable[..., Any]) -> None:
        known = [*self.payload, *([self._extra_name] if self._extra_name else [])]
        for name in sorted(self.redact.difference(known)):
            why = "is injected and never shown" if name in self.injected else "is no parameter of the task"
            raise RegistrationError(function, f"redact names {name!r}, which {why} (there are: {_listed(known)})")

    def _prepare(self) -> None:
        """Create one type for all parameters: decoding it in one step is many times as fast as one by one."""
        self._optional = [name for name, parameter in self.payload.items() if not parameter.required]
        members = [
            (name, each.type) if each.required else (name, each.type, msgspec.UNSET)
            for name, each in self.payload.items()
        ]
        self._type = msgspec.defstruct("Arguments", members, kw_only=True, forbid_unknown_fields=True)
        self._decoder = encoding.decoder(self._type)
        self._result_decoder = None if self.returns is Any else encoding.decoder(self.returns)
        self._forms = encoding.endless_forms(self._types())
        self._kept = frozenset(
            each for each in _PLAIN if self._result_decoder is None or self._result_decoder.type is each
        )
        self._result_forms = encoding.endless_forms([self.returns])
        self._moments = any(encoding.holds_moments(each) for each in self._types())
        self._mappings = any(encoding.holds_mappings(each) for each in self._types())
        self._deep = any(encoding.is_of_any_depth(each) for each in self._types())
        self._result_deep = encoding.is_of_any_depth(self.returns)
        self._result_mappings = encoding.holds_mappings(self.returns)
        self._shares = any(encoding.converts_in_part(each) for each in self._types())
        finders = {name: find for name, each in self.payload.items() if (find := encoding.bytes_finder(each.type))}
        self._extra_text = None if self.extra is None else encoding.bytes_finder(self.extra)
        self._texts = finders if finders or self._extra_text else None
        self._result_text = encoding.bytes_finder(self.returns)
        self._may_be_endless = any(encoding.reads_endless_numbers(each) for each in self._types())
        self._dropped: set[str] = set()

    def _types(self) -> list[Any]:
        return [*(each.type for each in self.payload.values()), *([] if self.extra is None else [self.extra])]

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name.

        Raises:
            InvalidArguments: too many positional arguments, or one is passed twice.
        """
        if len(args) > len(self.positional):
            raise InvalidArguments(self.task, {"arguments": self._too_many(len(args))})
        if not args:
            return {**kwargs}
        by_position = dict(zip(self.positional, args, strict=False))
        if twice := by_position.keys() & kwargs.keys():
            raise InvalidArguments(self.task, dict.fromkeys(sorted(twice), "given twice"))
        return {**by_position, **kwargs}

    def _too_many(self, count: int) -> str:
        by_name = [name for name in self.payload if name not in self.positional]
        takes = f"only {_listed(self.positional)} can be" if self.positional else "none can be"
        hint = f"; give by name: {', '.join(f'{name}=...' for name in by_name)}" if by_name else ""
        return f"{count} {'was' if count == 1 else 'were'} given by position, {takes}{hint}"

    def defaults(self) -> dict[str, Any]:
        """The defaults of the payload as JSON builtins; those that JSON cannot represent are omitted."""
        found = ((name, parameter.json_default()) for name, parameter in self.payload.items())
        return {name: default["default"] for name, default in found if default}

    def filled(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a job as the declared types, omitted ones with their defaults.

        Defaults that JSON cannot represent are omitted. Raises as `decode`.
        """
        return self._travelling_defaults | self.decode(raw)

    @functools.cached_property
    def _travelling_defaults(self) -> dict[str, Any]:
        return {name: each.default for name, each in self.payload.items() if each.json_default()}

    def encode(self, arguments: Mapping[str, Any], limit: int = MAX_PAYLOAD_BYTES) -> dict[str, Any]:
        """Validate the arguments of a call and return them as JSON builtins.

        Args:
            arguments: Python values or JSON builtins, by parameter name.
            limit: largest encoded size in bytes.

        Raises:
            InvalidArguments: missing, unknown, invalid or unencodable arguments; each is named.
            PayloadTooLarge: more than `limit` bytes.
        """
        try:
            encoded = encoding.encode(arguments, self._forms)
        except encoding.UNENCODABLE:
            raise InvalidArguments(self.task, self._encoding_problems(arguments)) from None
        if len(encoded) > limit:
            raise PayloadTooLarge(self.task, "arguments", len(encoded), limit)
        if self._moments and (problem := encoding.between_minutes(arguments)):
            raise InvalidArguments(self.task, {first_name(problem): problem})
        try:
            raw: dict[str, Any] = msgspec.json.decode(encoded)
        except (msgspec.DecodeError, RecursionError) as error:
            # From JSON that the caller has encoded and passes as `msgspec.Raw`.
            raise InvalidArguments(self.task, {"arguments": str(error)}) from None
        if self._deep and may_be_too_deep(encoded):
            self._check_levels(raw)
        if self._mappings and (problem := encoding.lost_names(arguments, encoded, raw)):
            raise self._lost(problem)
        try:
            found = self._decoder.decode(encoded)
        except encoding.UNREADABLE:
            found = None
        if found is None:
            # Outside the exception handler, see `_read`.
            if encoding.endless(arguments):
                raise InvalidArguments(self.task, self._encoding_problems(arguments))
            found = self.decode(raw)
        if self._may_be_endless and (place := place_of(found, is_endless)) is not None:
            raise InvalidArguments(self.task, {first_name(place): f"{place}: {encoding.ENDLESS}"})
        if self._texts is not None and (problems := found_in(arguments, self._texts, self._extra_text)):
            raise InvalidArguments(self.task, problems)
        return raw

    def _check_levels(self, raw: Mapping[str, Any]) -> None:
        if problems := {name: TOO_DEEP for name, value in raw.items() if is_too_deep(value)}:
            raise InvalidArguments(self.task, problems)

    def decode(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Validate JSON builtins as for a call and return them as the declared types; defaults are not added.

        Raises:
            InvalidArguments: missing, unknown or invalid arguments; each is named.
        """
        if (arguments := self._convert(raw)) is not None:
            return arguments
        arguments, problems = self._convert_each(raw)
        problems |= {name: self._stranger(name) for name in raw if not self._takes(name)}
        if problems:
            raise InvalidArguments(self.task, problems)
        return arguments

    def receive(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a job for a worker: like `decode`, but arguments unknown to the task are dropped.

        Another version of the task may have enqueued the job. Dropped arguments are logged, once per process. If the
        task modifies its arguments, `raw` does not change: another attempt gets the original ones.

        Raises:
            PayloadMismatch: missing or invalid arguments; each is named.
        """
        if self._shares:
            raw = encoding.copied(raw)
        try:
            return self._members(encoding.convert(raw, self._type))
        except msgspec.ValidationError:
            pass
        # Outside the exception handler, see `_read`.
        return self._receive_each(raw)

    def decode_json(self, raw: bytes | msgspec.Raw) -> dict[str, Any]:
        """`receive` directly from JSON: an object with the arguments, or null for none.

        Raises:
            PayloadMismatch: not such JSON, or missing or invalid arguments.
        """
        arguments = self._read(raw)
        return arguments if arguments is not None else self._receive_each(self._read_object(raw))

    def decode_result(self, raw: Any) -> Any:
        """Convert a stored result to the declared type. Raises as `encoding.decode_result`."""
        return decode_result(self.returns, raw)

    def keeps(self, result: Any) -> bool:
        """True for a small result of the declared type that JSON keeps unchanged, as most results are: it needs no
        `encode_result`, and fits into every limit."""
        return type(result) in self._kept and (result is None or -EXACT <= result <= EXACT)

    def encode_result(self, result: Any, limit: int = MAX_PAYLOAD_BYTES) -> Any:
        """A result as JSON builtins, checked against the declared type. Raises as `encoding.encode_result`."""
        return encode_result(
            self.task,
            result,
            limit,
            self._result_decoder,
            self._result_forms,
            mappings=self._result_mappings,
            deep=self._result_deep,
            text=self._result_text,
        )

    def redacted(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments for display, with "[redacted]" for the value of each redacted one."""
        return {name: REDACTED if self.hides(name) else value for name, value in arguments.items()}

    def secrets(self, raw: Mapping[str, Any] | None) -> Secrets:
        """The secrets of a job with these arguments. Costs almost nothing until a text is scrubbed."""
        if not self.redact or not raw:
            return NO_SECRETS
        hidden = {name: value for name, value in raw.items() if self.hides(name)}
        # As JSON and as the declared type: bytes look different in the two forms.
        return Secrets(lambda: [hidden, self._convert_each(hidden)[0]])

    def json_schema(self) -> dict[str, Any]:
        """The payload as JSON Schema (draft 2020-12) of one object; redacted parameters are `writeOnly`."""
        types = [parameter.type for parameter in self.payload.values()]
        schemas, definitions = encoding.schemas(types)
        properties = {}
        for parameter, schema in zip(self.payload.values(), schemas, strict=True):
            hidden = self.hides(parameter.name)
            properties[parameter.name] = schema | ({"writeOnly": True} if hidden else parameter.json_default())
        result: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "required": [name for name, parameter in self.payload.items() if parameter.required],
            "additionalProperties": self.extra is not None,
        }
        return result | ({"$defs": definitions} if definitions else {})

    def _read(self, raw: bytes | msgspec.Raw) -> dict[str, Any] | None:
        """Decode all arguments in one step; None if that fails, and each must be checked.

        The error is dropped here: as the context of another error it would show the invalid value.
        """
        try:
            return self._members(self._decoder.decode(raw))
        except encoding.UNREADABLE:
            return None

    def _convert(self, raw: Mapping[str, Any]) -> dict[str, Any] | None:
        """Like `_read`, from JSON builtins."""
        try:
            return self._members(encoding.convert(raw, self._type))
        except msgspec.ValidationError:
            return None

    def _members(self, found: Any) -> dict[str, Any]:
        arguments = msgspec.structs.asdict(found)
        for name in self._optional:
            if arguments[name] is msgspec.UNSET:
                del arguments[name]
        return arguments

    def _takes(self, name: str) -> bool:
        if name in self.payload:
            return True
        return self.extra is not None and name != CONTEXT and name not in self.injected

    def hides(self, name: str) -> bool:
        """True for an argument whose value is redacted."""
        return name in self.redact or (name not in self.payload and self._extra_name in self.redact)

    def _stranger(self, name: str) -> str:
        if name in self.injected:
            return "is injected by the worker and cannot be passed"
        return f"unknown argument (there are: {_listed(self.payload)})"

    def _receive_each(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        for name in raw:
            if not self._takes(name) and name not in self._dropped:
                self._dropped.add(name)
                logger.warning(
                    "jobs of %s bring the argument %r, which this version of the task does not take: it is dropped",
                    self.task,
                    name,
                )
        arguments, problems = self._convert_each(raw)
        if problems:
            raise PayloadMismatch(self.task, problems)
        return arguments

    def _read_object(self, raw: bytes | msgspec.Raw) -> dict[str, Any]:
        try:
            found = msgspec.json.decode(raw, type=dict[str, Any] | None)
        except msgspec.DecodeError as error:
            raise PayloadMismatch(self.task, {"arguments": str(error)}) from None
        return found or {}

    def _convert_each(self, raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The slow way: one argument after another, to name each invalid one. Unknown arguments are omitted."""
        arguments: dict[str, Any] = {}
        problems = {name: "missing" for name, each in self.payload.items() if each.required and name not in raw}
        for name in filter(self._takes, raw):
            type_ = self.payload[name].type if name in self.payload else self.extra
            try:
                arguments[name] = encoding.convert(raw[name], type_)
            except msgspec.ValidationError as error:
                problems[name] = self._problem(name, str(error).replace("`$", f"`{name}"), type_)
        return arguments, problems

    def _encoding_problems(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        problems = {}
        for name, value in arguments.items():
            try:
                encoding.encode({name: value})
            except encoding.UNENCODABLE as error:
                type_ = self.payload[name].type if name in self.payload else Any
                problems[str(name)] = self._problem(name, f"cannot be encoded as JSON: {error}", type_)
        return problems or {"arguments": "cannot be encoded as JSON"}

    def _lost(self, problem: str) -> InvalidArguments:
        name = first_name(problem)
        type_ = self.payload[name].type if name in self.payload else self.extra
        return InvalidArguments(self.task, {name: self._problem(name, problem, type_)})

    def _problem(self, name: str, problem: str, type_: Any) -> str:
        # msgspec reports the invalid value of an Enum or a Literal, and validators may report anything.
        return f"must be {encoding.type_name(type_)}, what was given is {REDACTED}" if self.hides(name) else problem


def first_name(place: str) -> str:
    """The argument that contains a place, see `place_of`."""
    return re.split(r"[.\[:]", place.removeprefix("the name "))[0]


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
