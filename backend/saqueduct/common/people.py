"""Who may do what: people and their roles."""

import dataclasses
from enum import StrEnum
from typing import Final

LONGEST_NAME: Final = 200
"""Characters of a person's name, at most."""


class Role(StrEnum):
    """What a person may do; each role includes those before it."""

    VIEWER = "viewer"
    """Sees jobs, records, queues and schedules, without redacted values."""
    OPERATOR = "operator"
    """Also changes them: enqueue, retry, abort, replay, discard, pause, resume, trigger."""
    ADMIN = "admin"
    """Also reads who has done what."""

    def includes(self, other: "Role") -> bool:
        """True when this role may do what the other one may."""
        return _RANK[self] >= _RANK[other]


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


@dataclasses.dataclass(frozen=True)
class Person:
    """Who sent a request or started a command.

    Raises:
        ValueError: the name is empty, longer than 200 characters, or has characters that cannot be printed.
    """

    name: str
    role: Role
    signed_in: bool = True
    """False where nobody says who it is: development on this machine, guards of the application."""

    def __post_init__(self) -> None:
        if problem := name_problem(self.name):
            raise ValueError(problem)
        object.__setattr__(self, "role", Role(self.role))

    def by(self, given: str | None) -> str:
        """The name to note for an action.

        Args:
            given: the name in the request; it counts only where nobody is signed in.
        """
        return self.name if self.signed_in or not given else given


def name_problem(name: str) -> str:
    """What is wrong with the name of a person; empty: nothing."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name.strip() != name:
        return f"a person's name has 1 to {LONGEST_NAME} printable characters, with no space at its ends"
    return ""


NOBODY: Final = Person("admin", Role.ADMIN, signed_in=False)
"""May do everything where nobody signs in."""
