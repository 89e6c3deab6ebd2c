"""Audit: who did what by hand."""

from litestar import Response, get
from litestar.di import NamedDependency

from saqueduct.console.view import ADMIN, View
from saqueduct.postgres.audit_filter import AuditFilter, AuditView

FILTERS = ("person", "target")

PAGE = 100
"""Entries of a page."""


@get("/audit", opt={**ADMIN, "query": (*FILTERS, "cursor")})
async def audit(view: NamedDependency[View]) -> Response[str]:
    """Actions of people in the console, over HTTP and on the command line, newest first; for the admin."""
    query = view.request.query_params
    which = {name: query[name].strip() for name in FILTERS if query.get(name, "").strip()}
    entries, cursor = [], None
    if view.keeps_records:
        async with view.audit_log() as log:
            rows, cursor = await log.page(AuditFilter(**which), query.get("cursor") or None, PAGE)
            entries = [AuditView.of(row) for row in rows]
    return await view.page("audit.html", entries=entries, which=which, cursor=cursor)
