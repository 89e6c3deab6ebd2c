"""Queues: depth, latency, pausing and resuming."""

from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency

from saqueduct.console.view import OPERATOR, View


class QueuePages(Controller):
    """All queues, and what can be done with one."""

    path = "/queues"

    @get()
    async def all_of_them(self, view: NamedDependency[View]) -> Response[str]:
        """Every queue in numbers."""
        return await view.page("queues.html")

    @post("/pause", opt=OPERATOR)
    async def pause(self, view: NamedDependency[View]) -> Response[Any]:
        """Let workers take no more jobs of a queue."""
        form = await view.form()
        queue = view.queues.look_up(form.text("queue"))
        await queue.pause(view.person.name, form.reason())
        await view.note("pause", "queue", [queue.name], queue=queue.name, why=form.reason())
        return view.done(f"Paused the queue {queue.name}. Running jobs go on.", form.text("back"))

    @post("/resume", opt=OPERATOR)
    async def resume(self, view: NamedDependency[View]) -> Response[Any]:
        """Let workers take jobs of a queue again."""
        form = await view.form()
        queue = view.queues.look_up(form.text("queue"))
        if was_paused := await queue.resume():
            await view.note("resume", "queue", [queue.name], queue=queue.name)
        text = f"Resumed the queue {queue.name}." if was_paused else f"The queue {queue.name} was not paused."
        return view.done(text, form.text("back"))
