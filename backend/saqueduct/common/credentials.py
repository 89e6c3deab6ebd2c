"""Credentials of people, as settings hold them."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Self

from saqueduct.common.password_hash import hash_problem, is_of_token
from saqueduct.common.people import Person, Role, name_problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Credential:
    """A person who signs in with a password, or a program with a token.

        Credential(name="maria", role="operator", hash="scrypt.15.8.3....")

    Raises:
        ValueError: the name, the role or the hash is invalid; says why.
    """

    name: str
    """Of the person: user name for HTTP Basic, and what actions are noted with."""
    role: Role
    hash: str = dataclasses.field(repr=False)
    """Of the password or the token, by `saqueduct hash-password`."""

    def __post_init__(self) -> None:
        problem = name_problem(self.name) or hash_problem(self.hash)
        if ":" in self.name:
            problem = "the name of HTTP Basic takes no colon"
        if problem:
            raise ValueError(f"{self.name}: {problem}")
        try:
            object.__setattr__(self, "role", Role(self.role))
        except ValueError:
            known = ", ".join(Role)
            raise ValueError(f"{self.name}: {self.role!r} is no role: choose one of {known}") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `maria:operator:scrypt.15.8.3....`.

        Raises:
            ValueError: it has no such form; says why, without the hash.
        """
        name, _, rest = text.partition(":")
        role, found, hashed = rest.partition(":")
        if not found:
            # Without a colon it may be a password.
            shown = name if ":" in text else "a word without a colon"
            raise ValueError(f"{shown}: must be name:role:hash, see `saqueduct hash-password`")
        return cls(name=name, role=Role(role) if role in tuple(Role) else role, hash=hashed)  # type: ignore[arg-type]

    @property
    def person(self) -> Person:
        """Who signs in with it."""
        return Person(self.name, self.role)

    @property
    def is_token(self) -> bool:
        """True for a bearer token, False for a password."""
        return is_of_token(self.hash)


def parse_credentials(given: str | Iterable[Credential | str]) -> tuple[Credential, ...]:
    """Credentials of a setting: words separated by spaces or line breaks, or a sequence.

    Raises:
        ValueError: one is invalid, or two contradict each other.
    """
    words: Iterable[Credential | str] = given.split() if isinstance(given, str) else given
    found = tuple(each if isinstance(each, Credential) else Credential.parse(each) for each in words)
    _check_names(found)
    return found


def _check_names(found: Sequence[Credential]) -> None:
    roles: dict[str, Role] = {}
    kinds: set[tuple[str, bool]] = set()
    for each in found:
        if roles.setdefault(each.name, each.role) != each.role:
            raise ValueError(f"{each.name}: has two roles: give one")
        if (each.name, each.is_token) in kinds:
            kind = "tokens" if each.is_token else "passwords"
            raise ValueError(f"{each.name}: has two {kind}: give one")
        kinds.add((each.name, each.is_token))
