"""Dead letters: grouped, replayed and discarded one by one, by group, or all that match."""

import asyncio
from typing import Any, Final

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency

from saqueduct.console.dead_groups import GROUPED, DeadLetter, Group, grouped
from saqueduct.console.many import begun, refusal
from saqueduct.console.search import PARAMETERS, search_of
from saqueduct.console.view import OPERATOR, View
from saqueduct.errors import InvalidSearch
from saqueduct.postgres.job_details import JobDetails
from saqueduct.postgres.record_filter import DeadLetterFilter, RecordFilter

FILTERS: Final = tuple(name for name in PARAMETERS if name != "status")

PAGE: Final = 50
"""Dead letters of a page."""

RATE: Final = 50.0
"""Jobs a second that a replay starts, unless the form says otherwise."""


class DeadLetterPages(Controller):
    """The list, and what can be done with all that match."""

    path = "/dead-letters"

    @get(opt={"query": (*FILTERS, "cursor")})
    async def found(self, view: NamedDependency[View]) -> Response[str]:
        """Dead letters that wait, newest first, below their groups."""
        query = view.request.query_params
        search = search_of(query)
        if not view.keeps_records:
            return await view.page("dead_letters_none.html")
        place = query.get("cursor") or None
        (letters, cursor), groups = await asyncio.gather(
            _letters(view, search.which, place), _groups(view, search.which, place)
        )
        return await view.page(
            "dead_letters.html",
            search=search,
            letters=letters,
            cursor=cursor,
            groups=groups,
            tasks=sorted(task.name for task in view.registry.get_all_tasks()),
            most=GROUPED,
        )

    @get("/all", opt={**OPERATOR, "query": (*FILTERS, "action")})
    async def ask(self, view: NamedDependency[View]) -> Response[str]:
        """How many match, before all of them are replayed or discarded."""
        query = view.request.query_params
        search = search_of(query)
        if search.problem:
            raise InvalidSearch(search.problem)
        async with view.dead_letters() as letters:
            count = await letters.count(search.which)
        action = "discard" if query.get("action") == "discard" else "replay"
        return await view.page("dead_letters_all.html", search=search, count=count, action=action, rate=RATE)

    @post("/replay", opt=OPERATOR)
    async def replay(self, view: NamedDependency[View]) -> Response[Any]:
        """Replay all that match, by a job that limits the rate and reports its progress."""
        form = await view.form()
        which = _which({name: form.text(name) for name in FILTERS})
        try:
            rate = float(form.text("rate") or RATE)
        except ValueError:
            rate = 0.0
        if not 0 < rate <= 100_000:
            return view.done(
                "The rate is jobs a second, more than 0: nothing was replayed.", form.text("back"), kind="error"
            )
        why = form.reason()
        given = {"which": which, "rate": rate, "by": view.person.name, "why": why}
        async with view.dead_letters() as letters:
            if (refused := await refusal(view, form, letters)) is not None:
                return refused
            job = await letters.enqueue("replay_dead_letters", given)
            # The job counts in it.
            entry = view.entry("replay", "dead letter", [job.key], filter=which.described(), why=why, count=None)
            await letters.audit.add(entry)
        page = view.url("job", key=job.key, queue=job.get_queue().name)
        return view.done("A job replays them; its progress and result are here.", page)

    @post("/discard", opt=OPERATOR)
    async def discard(self, view: NamedDependency[View]) -> Response[Any]:
        """Discard all that match, by a job that reports its progress."""
        form = await view.form()
        search = search_of({name: form.text(name) for name in FILTERS})
        if search.problem:
            raise InvalidSearch(search.problem)
        return await begun(view, form, "discard", search.which)


async def _letters(view: View, which: RecordFilter, cursor: str | None) -> tuple[list[JobDetails], str | None]:
    async with view.history() as history:
        page = await history.dead_letters(which, cursor, PAGE, view.sizes.searched_records)
        return [JobDetails.of_record(view.queues, record) for record in page.records], page.cursor


async def _groups(view: View, which: RecordFilter, cursor: str | None) -> list[Group]:
    """Of the first page only."""
    if cursor is not None:
        return []
    async with view.history() as history:
        return grouped(DeadLetter(*row) for row in await history.dead_errors(which, GROUPED))


def _which(given: dict[str, str]) -> DeadLetterFilter:
    """The filter of a form; without one every dead letter, which the page before has asked for.

    Raises:
        InvalidSearch: it cannot be understood; then nothing is changed.
    """
    search = search_of(given)
    if search.problem:
        raise InvalidSearch(search.problem)
    if search.which == RecordFilter():
        return DeadLetterFilter(all=True)
    return DeadLetterFilter(**msgspec.structs.asdict(search.which))
