"""`audit`: who did what by hand."""

import datetime as dt
import platform
from typing import Any, get_args

import click
from rich.console import RenderableType

from saqueduct import record_sessions as records
from saqueduct.application import Saqueduct
from saqueduct.cli import options, output
from saqueduct.cli.connection import connected
from saqueduct.cli.nouns import Nouns
from saqueduct.postgres.audit import AuditLog
from saqueduct.postgres.audit_filter import AuditFilter, AuditView
from saqueduct.queue.audit import Action, AuditEntry, Kind, Surface


@click.group(cls=Nouns)
def audit() -> None:
    """See who did what by hand."""


@audit.command("list")
@click.option("--person", help="By this person.")
@click.option("--action", type=click.Choice(get_args(Action)), help="This action.")
@click.option("--target", help="On the job of this key, or the queue, schedule or limit of this name.")
@click.option("--surface", type=click.Choice(get_args(Surface)), help="Asked for there.")
@click.option("--since", type=options.Moment(), help="Then or later: 2h, 7d, 2026-05-01T09:00.")
@click.option("--until", type=options.Moment(), help="Before then.")
@options.paging
@options.as_json
@connected
async def list_audit(
    saqueduct: Saqueduct,
    *,
    person: str | None,
    action: str | None,
    target: str | None,
    surface: str | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List actions, newest first: who, what, to which jobs, queues, schedules or limits, why and from where."""
    which = AuditFilter(person=person, action=action, target=target, surface=surface, since=since, until=until)
    async with records.transaction(saqueduct) as session:
        page = await AuditLog(session).page(which, cursor, limit)
        found = [AuditView.of(row) for row in page.rows]
    if as_json:
        output.emit({"entries": found, "cursor": page.cursor})
        return
    if found:
        rows = [_row(view) for view in found]
        output.show(output.table("At", "Who", "Did", "To", "Why", "From", rows=rows, fixed=("At", "Did")))
    else:
        output.note("no entries match")
    if page.cursor is not None:
        output.note(f"more: --cursor {page.cursor}")


def _row(view: AuditView) -> tuple[RenderableType, ...]:
    who = f"{view.person} ({view.role})" if view.role else view.person
    what = [view.targets[0]] if len(view.targets) == 1 else []
    if view.is_planned:
        what.append("(planned, not noted as done)")
    elif view.count != 1:
        what = ["an unknown number" if view.count is None else f"{view.count:,}", *what]
    if view.filter:
        what.append(output.json_text(view.filter))
    texts = (
        output.when(view.at), who, view.action, f"{view.kind} {' '.join(what)}", view.why,
        f"{view.surface} {view.address}",
    )  # fmt: skip
    return tuple(output.line(output.clean(text, one_line=True)) for text in texts)


def entry(action: Action, kind: Kind, targets: list[str], **fields: Any) -> AuditEntry:
    """What the user of this machine did.

    Args:
        action, kind, targets: see `AuditEntry`.
        fields: further ones of it.
    """
    return AuditEntry(
        person=options.user(),
        action=action,
        kind=kind,
        targets=targets,
        surface="cli",
        address=platform.node(),
        **fields,
    )
