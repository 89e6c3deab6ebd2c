"""The key of a call that takes a limit: the one that jobs with this limit have for equal arguments."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from saqueduct.errors import InvalidArguments
from saqueduct.flow.limits import parameters_of
from saqueduct.tasks import encoding
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.limit_keys import key_of
from saqueduct.tasks.shared_limits import limit_named, redacted_places


def key_of_call(name: str, given: Mapping[str, Any], tasks: Sequence[TaskDefinition], own: str) -> str:
    """The key of some arguments at a limit.

    Args:
        name: of the limit.
        given: the arguments.
        tasks: those that have the limit.
        own: name of the task of the job that calls; if it has the limit, its declaration comes first.

    Raises:
        InvalidArguments: a value is missing, unknown or invalid.
    """
    # Not in the order of registration, which may differ between processes.
    ordered = sorted(tasks, key=lambda task: (task.name != own, task.name))
    declared = [limit for task in ordered if (limit := limit_named(name, task.defaults.all_limits, task.name))]
    names = parameters_of(next((each for each in declared if set(parameters_of(each)) == set(given)), declared[0]))
    where = f"the limit {name!r}"
    _check_names(where, names, given)
    values = _typed(where, {each: given[each] for each in names}, _types(name, ordered, len(names)))
    redacted = redacted_places(name, tasks)
    return key_of(names, values, {each for place, each in enumerate(names) if place in redacted})


def _check_names(where: str, names: Sequence[str], given: Mapping[str, Any]) -> None:
    problems = dict.fromkeys(sorted(set(names) - given.keys()), "is missing")
    known = ", ".join(names) or "none"
    problems |= dict.fromkeys(
        sorted(given.keys() - set(names)), f"is not an argument of this limit (there are: {known})"
    )
    if problems:
        raise InvalidArguments(where, problems)


def _types(name: str, tasks: Sequence[TaskDefinition], count: int) -> list[list[Any]]:
    """The types that the arguments of whole jobs have, for each task that has so many in the key."""
    found: list[list[Any]] = []
    for task in tasks:
        limit = limit_named(name, task.defaults.limits, task.name)
        if limit is not None and len(parameters_of(limit)) == count:
            found.append([task.signature.payload[each].type for each in parameters_of(limit)])
    return found


def _typed(where: str, values: Mapping[str, Any], types: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The values as the first types that they fit: with others, equal values could have different keys."""
    first, *others = types or [[Any] * len(values)]
    try:
        return _all_decoded(where, values, first)
    except InvalidArguments:
        for each in others:
            with suppress(InvalidArguments):
                return _all_decoded(where, values, each)
        raise


def _all_decoded(where: str, values: Mapping[str, Any], types: Sequence[Any]) -> dict[str, Any]:
    return {
        name: _decoded(where, name, value, type_) for (name, value), type_ in zip(values.items(), types, strict=True)
    }


def _decoded(where: str, name: str, value: Any, type_: Any) -> Any:
    try:
        return encoding.decoder(type_).decode(encoding.encode(value))
    except (msgspec.ValidationError, *encoding.UNENCODABLE) as error:
        raise InvalidArguments(where, {name: str(error)}) from None
