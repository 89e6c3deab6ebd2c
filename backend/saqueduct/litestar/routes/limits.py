"""Limits: their numbers, and changes of them while jobs wait."""

import dataclasses
from typing import Any, Literal

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
from saqueduct.queue.pausing import Pause


class LimitNumbers(msgspec.Struct):
    """The numbers of a limit."""

    limit: int
    """Jobs that run at once; of a rate, jobs that start in `per` seconds."""
    per: float | None
    """Seconds, of a rate."""
    burst: int | None
    """Jobs that may start at once after a quiet time, of a rate."""


class LimitView(LimitNumbers):
    """A limit, with the numbers that are valid now."""

    name: str
    queue: str
    kind: Literal["concurrency", "rate"]
    tasks: tuple[str, ...]
    """Names of the tasks that have it."""
    by: tuple[str, ...]
    """Parameters whose values have a limit each; empty: one limit for all jobs."""
    ordered: bool
    """Whether a job keeps its place between its attempts."""
    declared: LimitNumbers
    """The numbers in the code."""
    changed: Pause | None
    """Who has changed it by hand, why and since when."""

    @classmethod
    def of(cls, state: LimitState) -> "LimitView":
        fields: dict[str, Any] = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
        fields |= dataclasses.asdict(fields.pop("numbers"))
        fields["declared"] = LimitNumbers(**dataclasses.asdict(state.declared))
        return cls(**fields)


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
    async def all_of_them(self, services: NamedDependency[QueueServices]) -> list[LimitView]:
        """Every limit of the tasks."""
        return [LimitView.of(state) for state in await Limits(services.queues).states()]

    @get("/{name:str}", **VIEWER, operation_id="show_limit")
    async def show(self, name: FromPath[str], services: NamedDependency[QueueServices]) -> LimitView:
        """The limit."""
        return LimitView.of(await Limits(services.queues).state(name))

    @put("/{name:str}", **OPERATOR, operation_id="change_limit")
    async def change(
        self,
        name: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
        data: JSONBody[LimitChange],
    ) -> LimitView:
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
        return LimitView.of(state)

    @post("/{name:str}/reset", **OPERATOR, status_code=200, operation_id="reset_limit")
    async def reset(
        self, name: FromPath[str], request: Request[Any, Any, Any], services: NamedDependency[QueueServices]
    ) -> LimitView:
        """Return to the numbers in the code; no error when it was not changed."""
        limits = Limits(services.queues)
        if await limits.reset(name):
            await services.queues.audit.note(audit_entry(request, "reset", "limit", [name]))
        return LimitView.of(await limits.state(name))
