"""Audit: who did what by hand."""

from typing import Any, get_args

from litestar import Response, get
from litestar.di import NamedDependency

from saqueduct.console.search import moment
from saqueduct.console.view import ADMIN, View
from saqueduct.errors import InvalidSearch
from saqueduct.postgres.audit_filter import AuditFilter, AuditView
from saqueduct.queue.audit import Action, Surface

FILTERS = ("target", "person", "action", "surface", "since", "until")

PAGE = 100
"""Entries of a page."""


@get("/audit", opt={**ADMIN, "query": (*FILTERS, "cursor")})
async def audit(view: NamedDependency[View]) -> Response[str]:
    """Actions of people in the console, over HTTP and on the command line, newest first; for the admin."""
    query = view.request.query_params
    given = {name: query[name].strip() for name in FILTERS if query.get(name, "").strip()}
    entries, cursor, problem = list[AuditView](), None, ""
    if view.keeps_records:
        try:
            which = _filter(given)
        except InvalidSearch as error:
            problem = str(error)
        else:
            async with view.audit_log() as log:
                rows, cursor = await log.page(which, query.get("cursor") or None, PAGE)
                entries = [AuditView.of(row) for row in rows]
    return await view.page(
        "audit.html",
        entries=entries,
        which=given,
        cursor=cursor,
        problem=problem,
        actions=get_args(Action),
        surfaces=get_args(Surface),
    )


def _filter(given: dict[str, str]) -> AuditFilter:
    fields: dict[str, Any] = {
        name: moment(name, text) if name in ("since", "until") else text for name, text in given.items()
    }
    return AuditFilter(**fields)
