"""Limits that several tasks share: the tasks have to agree about them."""

from collections.abc import Collection, Iterable
from typing import Any

from msgspec import inspect as msgspec_inspect

from saqueduct.errors import RegistrationError
from saqueduct.flow.limits import Limit, name_of, parameters_of
from saqueduct.tasks.definition import TaskDefinition

_KINDS = {
    msgspec_inspect.BoolType: "truth values",
    msgspec_inspect.IntType: "numbers",
    msgspec_inspect.FloatType: "numbers",
    msgspec_inspect.StrType: "texts",
    msgspec_inspect.UUIDType: "texts",
    msgspec_inspect.DateType: "texts",
    msgspec_inspect.TimeType: "texts",
    msgspec_inspect.DateTimeType: "texts",
}

ANY_KIND = frozenset({"any"})


def check_shared_limits(task: TaskDefinition, others: Iterable[TaskDefinition]) -> None:
    """Check that a task agrees with the others about the limits that it shares with them.

    Raises:
        RegistrationError: it does not; names both, and what to change.
    """
    named = {name_of(each, task.name): each for each in task.defaults.all_limits}
    if not named:
        return
    for other in others:
        for each in other.defaults.all_limits if other.name != task.name else ():
            name = name_of(each, other.name)
            if (own := named.get(name)) is not None:
                _check_rules(task, own, other, each, name)
                for here, there in zip(parameters_of(own), parameters_of(each), strict=False):
                    _check_redaction(task, here, other, there, name)
                    _check_types(task, here, other, there, name)


def limit_named(name: str, limits: Iterable[Limit], task: str) -> Limit | None:
    """The limit of that name among those of a task."""
    return next((each for each in limits if name_of(each, task) == name), None)


def redacted_places(name: str, tasks: Iterable[TaskDefinition]) -> frozenset[int]:
    """The places in the key of a limit whose values are redacted by one of these tasks."""
    having = ((task, limit_named(name, task.defaults.all_limits, task.name)) for task in tasks)
    return frozenset(
        place
        for task, limit in having
        if limit is not None
        for place, parameter in enumerate(parameters_of(limit))
        if task.signature.hides(parameter)
    )


def _check_rules(task: TaskDefinition, own: Limit, other: TaskDefinition, each: Limit, name: str) -> None:
    if own.rule != each.rule:
        raise RegistrationError(
            task.function,
            f"the limit {name!r} is {own!r} here, and {each!r} in {other.where}: define it once, and use "
            "it in both, or give one another name",
        )
    if task.defaults.queue != other.defaults.queue:
        raise RegistrationError(
            task.function,
            f"the limit {name!r} is used in the queue {task.defaults.queue!r} here, and in the queue "
            f"{other.defaults.queue!r} in {other.where}: a limit applies in one queue only; use one "
            "queue, or give one another name",
        )


def _check_redaction(task: TaskDefinition, here: str, other: TaskDefinition, there: str, name: str) -> None:
    """The keys of whole jobs are made by their task alone: it must redact what another task redacts."""
    hidden, also = task.signature.hides(here), other.signature.hides(there)
    plain = other if hidden else task
    if hidden == also or limit_named(name, plain.defaults.limits, plain.name) is None:
        return
    where = f"here, and not in {other.where}" if hidden else f"in {other.where}, and not here"
    raise RegistrationError(
        task.function,
        f"the limit {name!r} has a key for {here!r}, which is redacted {where}: its values would be in Redis as plain "
        "text; add it to `redact` of both tasks, or give one limit another name",
    )


def _check_types(task: TaskDefinition, here: str, other: TaskDefinition, there: str, name: str) -> None:
    """Whole jobs whose arguments can never be equal share nothing."""
    if any(limit_named(name, each.defaults.limits, each.name) is None for each in (task, other)):
        return
    own, its = task.signature.payload[here].type, other.signature.payload[there].type
    kinds, others = _kinds_of(own), _kinds_of(its)
    if kinds & others or ANY_KIND in (kinds, others):
        return
    raise RegistrationError(
        task.function,
        f"the limit {name!r} has a key for {here!r}, which has {_listed(kinds)} here, and {_listed(others)} in "
        f"{other.where}: these are never equal; give both one type, or give one limit another name",
    )


def _kinds_of(hint: Any) -> frozenset[str]:
    """What the values of a type are in JSON, without null; ANY_KIND: it may be anything."""
    return _kinds(msgspec_inspect.type_info(hint))


def _kinds(info: msgspec_inspect.Type) -> frozenset[str]:
    if isinstance(info, msgspec_inspect.Metadata):
        return _kinds(info.type)
    if isinstance(info, msgspec_inspect.UnionType):
        found = frozenset().union(*(_kinds(each) for each in info.types))
        return ANY_KIND if "any" in found else found
    if isinstance(info, msgspec_inspect.NoneType):
        return frozenset()
    values: Collection[Any] = ()
    if isinstance(info, msgspec_inspect.EnumType):
        values = [each.value for each in info.cls]
    elif isinstance(info, msgspec_inspect.LiteralType):
        values = [each for each in info.values if each is not None]
    if values:
        return frozenset("texts" if isinstance(each, str) else "numbers" for each in values)
    kind = _KINDS.get(type(info))
    return ANY_KIND if kind is None else frozenset({kind})


def _listed(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds)) or "nothing"
