"""The audit over HTTP."""

from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from saqueduct.litestar.routes.answers import ADMIN
from saqueduct.litestar.routes.times import Time, moment
from saqueduct.litestar.services import QueueServices
from saqueduct.postgres.audit_filter import AuditFilter, AuditView
from saqueduct.postgres.record_filter import PAGE

Limit = Annotated[int, QueryParameter(ge=1, le=500, description="entries of a page")]


class AuditPageView(msgspec.Struct):
    """Some entries, newest first, and the cursor of the next page; null: there is none."""

    entries: list[AuditView]
    cursor: str | None


class AuditController(Controller):
    """Who did what by hand."""

    path = "/audit"
    tags = ("Audit",)

    @get(**ADMIN, operation_id="list_audit")
    async def page(
        self,
        services: NamedDependency[QueueServices],
        person: FromQuery[str | None] = None,
        action: FromQuery[str | None] = None,
        kind: FromQuery[str | None] = None,
        surface: FromQuery[str | None] = None,
        target: FromQuery[str | None] = None,
        since: Time = None,
        until: Time = None,
        cursor: FromQuery[str | None] = None,
        limit: Limit = PAGE,
    ) -> AuditPageView:
        """Actions of people in the console, over HTTP and on the command line, newest first."""
        which = AuditFilter(
            person=person, action=action, kind=kind, surface=surface, target=target,
            since=moment("since", since), until=moment("until", until),
        )  # fmt: skip
        async with services.audit_log() as log:
            rows, following = await log.page(which, cursor, limit)
            return AuditPageView([AuditView.of(row) for row in rows], following)
