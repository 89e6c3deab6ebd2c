"""Which entries of the audit to find, and how they are shown; without SQL."""

import datetime as dt
from typing import TYPE_CHECKING, Any, Self, get_args

import msgspec

from saqueduct.errors import InvalidSearch
from saqueduct.queue.audit import Action, Kind, Surface

if TYPE_CHECKING:
    from saqueduct.postgres.models import AuditRow


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects entries; a field that is left out matches all.

    Attributes:
        person: name of who did it.
        action, kind, surface: see `AuditEntry`.
        target: key of a job, or name of a queue or schedule.
        since: at that time or later.
        until: before that time.

    Raises:
        InvalidSearch: there is no such action, kind or surface.
    """

    person: str | None = None
    action: str | None = None
    kind: str | None = None
    surface: str | None = None
    target: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    def __post_init__(self) -> None:
        for name, words in (("action", Action), ("kind", Kind), ("surface", Surface)):
            value, known = getattr(self, name), get_args(words)
            if value is not None and value not in known:
                raise InvalidSearch(f"there is no {name} {value[:40]!r}; there are {', '.join(known)}")


class AuditView(msgspec.Struct, kw_only=True):
    """An entry as it is shown; see `AuditEntry`."""

    id: int
    at: dt.datetime
    person: str
    role: str | None
    action: str
    kind: str
    targets: list[str]
    count: int | None
    task: str | None
    queue: str | None
    filter: dict[str, Any] | None
    why: str
    surface: str
    address: str

    @property
    def is_planned(self) -> bool:
        """True for a single action that was not noted as done: its process may have ended meanwhile."""
        return self.count == 0 and self.filter is None

    @classmethod
    def of(cls, row: "AuditRow") -> Self:
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})
