"""What the processes send to the one that hands out the tests; it answers `Next` with a list of positions."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Started:
    """The test at this position begins."""

    position: int


@dataclass(frozen=True)
class Reported:
    """A report of a test, as a plugin of pytest has serialized it."""

    data: dict[str, Any]


@dataclass(frozen=True)
class Next:
    """A block has been run; the next one, please. An empty one ends the process."""


@dataclass(frozen=True)
class Ended:
    """The process ends; with what has gone wrong since its last test, or the empty string."""

    error: str


Message = Started | Reported | Next | Ended
