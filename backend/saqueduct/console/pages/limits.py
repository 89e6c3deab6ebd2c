"""Limits: their numbers, and changing them while jobs wait."""

from contextlib import suppress
from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency

from saqueduct.broker.outage import answering
from saqueduct.console.forms import Form
from saqueduct.console.view import OPERATOR, View
from saqueduct.errors import QueueUnavailable
from saqueduct.queue.limit_states import LimitState
from saqueduct.queue.limits import Limits


class LimitPages(Controller):
    """All limits, and what can be done with one."""

    path = "/limits"

    @get()
    async def all_of_them(self, view: NamedDependency[View]) -> Response[str]:
        """Every limit of the tasks."""
        limits: list[LimitState] | None = None
        snapshot = await view.snapshot()
        if snapshot.redis_up:
            with suppress(QueueUnavailable):
                async with answering(view.saqueduct.config.timings.console.answer):
                    limits = await Limits(view.queues).states()
        return await view.page("limits.html", limits=limits)

    @post("/set", opt=OPERATOR)
    async def change(self, view: NamedDependency[View]) -> Response[Any]:
        """Set other numbers."""
        form = await view.form()
        name, why = form.text("limit_name"), form.reason()
        try:
            numbers = _numbers(form)
            state = await Limits(view.queues).change(name, **numbers, by=view.person.name, why=why)
        except ValueError as error:
            return view.done(str(error), form.text("back"), kind="error")
        await view.note("change", "limit", [name], queue=state.queue, filter=numbers, why=why)
        return view.done(f"Changed the limit {name}: {state.numbers}.", form.text("back"))

    @post("/reset", opt=OPERATOR)
    async def reset(self, view: NamedDependency[View]) -> Response[Any]:
        """Return to the numbers in the code."""
        form = await view.form()
        name = form.text("limit_name")
        if await Limits(view.queues).reset(name):
            await view.note("reset", "limit", [name])
        return view.done(f"The limit {name} has the numbers of the code again.", form.text("back"))


def _numbers(form: Form) -> dict[str, Any]:
    """The numbers of a form; an empty field stays as it is."""
    kinds: dict[str, type[int] | type[float]] = {"limit": int, "per": float, "burst": int}
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        if given := form.text(name):
            try:
                found[name] = kind(given)
            except ValueError:
                raise ValueError(f"{name} takes a number, not {given!r}") from None
    return found
