"""The limits of a job: their keys, from its arguments."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from saqueduct.flow.limits import FAIR, Fair, Limit, gate_of, name_of, parameters_of
from saqueduct.tasks.canonical import canonical, digest

LONGEST_TEXT = 64
"""Characters of a value that is part of a key as it is; of a longer one it is the digest."""


def limits_of_job(
    task: str, limits: Iterable[Limit], arguments: Mapping[str, Any], secret: Collection[str]
) -> list[list[str]]:
    """For each limit of a job its name, the key, and the rule, see `lua/limits.lua`.

    Args:
        task: the task's name.
        limits: of the task.
        arguments: all its arguments as the declared types, omitted ones with their defaults.
        secret: parameters whose values must not be shown.
    """
    return [[name_of(each, task), key_of(parameters_of(each), arguments, secret), each.rule] for each in limits]


def turns_of_job(task: str, fair: Fair, arguments: Mapping[str, Any], secret: Collection[str]) -> list[str]:
    """What a job carries about its turns, in the form of a limit; see `limits_of_job`."""
    key = key_of(fair.parameters, arguments, secret)
    return [FAIR + task, gate_of(key, str(fair.weight_of(arguments))), ""]


def lane_of(priority: str, limits: Iterable[Iterable[str]]) -> str:
    """The lane of a job, see `lua/limits.lua`: the same for jobs that wait for the same."""
    return "\n".join([priority, *sorted(gate_of(name, key) for name, key, _ in limits)])


def key_of(names: Iterable[str], arguments: Mapping[str, Any], secret: Collection[str]) -> str:
    """The key that some arguments have at a limit; see `limits_of_job`."""
    return ",".join(_text(arguments.get(name), name in secret) for name in names)


def _text(value: Any, secret: bool) -> str:
    """A value for a key: readable if it is short and may be shown."""
    plain = value if type(value) in (int, str) else canonical(value)
    if not secret and (type(plain) is int or (type(plain) is str and len(plain) <= LONGEST_TEXT)):
        return msgspec.json.encode(plain).decode()
    return digest(value)
