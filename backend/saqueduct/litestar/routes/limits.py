"""Limits: their numbers, and changes of them while jobs wait."""

from typing import Any

import msgspec
from litestar import Controller, Request, get, post, put
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.params import FromPath, JSONBody

from saqueduct.litestar.audit import audit_entry
from saqueduct.litestar.routes.answers import OPERATOR, VIEWER, Words, asker
from saqueduct.litestar.services import QueueServices
from saqueduct.queue.limit_states import LimitState
from saqueduct.queue.limits import Limits


class LimitChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a request that changes a limit; what is left out stays as it is."""

    limit: int | None = None
    """Jobs that run at once; of a rate, jobs that start in `per` seconds."""
    per: float | None = None
    """Seconds, of a rate."""
    burst: int | None = None
    """Jobs that may start at once after a quiet time, of a rate."""
    why: Words = ""
    """For those who find it changed."""
    by: Words = ""
    """Who changes it. Counts only where nobody is signed in: in development, and with guards of the application."""


class LimitController(Controller):
    """Limits by name."""

    path = "/limits"
    tags = ("Limits",)

    @get(**VIEWER, operation_id="list_limits")
    async def all_of_them(self, services: NamedDependency[QueueServices]) -> list[LimitState]:
        """Every limit of the tasks."""
        return await Limits(services.queues).states()

    @get("/{name:str}", **VIEWER, operation_id="show_limit")
    async def show(self, name: FromPath[str], services: NamedDependency[QueueServices]) -> LimitState:
        """The limit."""
        return await Limits(services.queues).state(name)

    @put("/{name:str}", **OPERATOR, operation_id="change_limit")
    async def change(
        self,
        name: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
        data: JSONBody[LimitChange],
    ) -> LimitState:
        """Set other numbers, for jobs that wait too, until a reset, or until a deploy declares other ones."""
        numbers = {"limit": data.limit, "per": data.per, "burst": data.burst}
        by = asker(request).by(data.by)
        try:
            state = await Limits(services.queues).change(name, **numbers, by=by, why=data.why)  # type: ignore[arg-type]
        except ValueError as error:
            raise ClientException(str(error)) from error
        given = {each: value for each, value in numbers.items() if value is not None}
        entry = audit_entry(
            request, "change", "limit", [name], by=data.by, queue=state.queue, filter=given, why=data.why
        )
        await services.queues.audit.note(entry)
        return state

    @post("/{name:str}/reset", **OPERATOR, status_code=200, operation_id="reset_limit")
    async def reset(
        self, name: FromPath[str], request: Request[Any, Any, Any], services: NamedDependency[QueueServices]
    ) -> LimitState:
        """Return to the numbers in the code; no error when it was not changed."""
        limits = Limits(services.queues)
        if await limits.reset(name):
            await services.queues.audit.note(audit_entry(request, "reset", "limit", [name]))
        return await limits.state(name)
