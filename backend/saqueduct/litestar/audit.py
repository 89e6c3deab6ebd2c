"""Entries of the audit for requests."""

from typing import Any

from saqueduct.litestar.access import person_of
from saqueduct.litestar.refusals import Connection
from saqueduct.queue.audit import Action, AuditEntry, Kind, Surface


def audit_entry(
    connection: Connection,
    action: Action,
    kind: Kind,
    targets: list[str],
    *,
    by: str | None = None,
    surface: Surface = "http",
    **fields: Any,
) -> AuditEntry:
    """What the person of a request did.

    Args:
        connection: whose route needs a role.
        action, kind, targets: see `AuditEntry`.
        by: name in the body, where nobody is signed in.
        surface: where it was asked for.
        fields: further ones of `AuditEntry`.
    """
    person = person_of(connection)
    assert person is not None, "the route needs no role"  # noqa: S101
    address = connection.client.host if connection.client else ""
    return AuditEntry(
        person=person.by(by),
        role=person.role,
        action=action,
        kind=kind,
        targets=targets,
        surface=surface,
        address=address,
        **fields,
    )
