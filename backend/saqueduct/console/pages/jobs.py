"""Jobs: found, listed, exported, and changed many at once."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Literal

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.response import Stream

from saqueduct.console.job_rows import COUNTED, LOOKED_AT, RECORDED, page_of, page_without_history
from saqueduct.console.many import begun, counted, searched
from saqueduct.console.search import PARAMETERS, Search, search_of
from saqueduct.console.view import OPERATOR, View
from saqueduct.errors import InvalidSearch, JobNotFound, QueueError, QueueUnavailable
from saqueduct.postgres.job_details import JobDetails
from saqueduct.queue import listing

QUERY: Final = {"query": (*PARAMETERS, "cursor")}

EXPORTED: Final = 10_000
"""Jobs of an export."""

PORTION: Final = 500
"""Jobs of an export that are read at once."""

MOST_CHOSEN: Final = 500
"""Jobs that one form may choose."""

COLUMNS: Final = (
    *("key", "task", "queue", "status", "attempts", "queued_at", "started_at", "ended_at", "worker"),
    *("schedule", "parent", "trace_id", "tags", "arguments", "result", "error"),
)


class JobPages(Controller):
    """Lists of jobs."""

    path = "/jobs"

    @get(opt=QUERY)
    async def found(self, view: NamedDependency[View]) -> Response[str]:
        """The jobs that match, live and recorded ones."""
        query = view.request.query_params
        search = search_of(query)
        page = await page_without_history(view, search, query.get("cursor") or None)
        named = await _named(view, search) if not (page.live or page.recorded or page.away) else None
        return await view.page(
            "jobs.html",
            search=search,
            found=page,
            named=named,
            tasks=sorted(task.name for task in view.registry.get_all_tasks()),
            most=COUNTED,
            searched=view.sizes.searched_records,
            looked_at=LOOKED_AT,
            exported=EXPORTED,
        )

    @get("/export.csv", opt={"query": PARAMETERS})
    async def as_csv(self, view: NamedDependency[View]) -> Stream:
        """The jobs that match, EXPORTED at most, as CSV."""
        return await _export(view, "text/csv", "jobs.csv", _csv_row, _csv_row(dict(zip(COLUMNS, COLUMNS, strict=True))))

    @get("/export.jsonl", opt={"query": PARAMETERS})
    async def as_lines(self, view: NamedDependency[View]) -> Stream:
        """The jobs that match, EXPORTED at most, as lines of JSON."""
        return await _export(
            view, "application/jsonl", "jobs.jsonl", lambda job: msgspec.json.encode(job).decode() + "\n", ""
        )

    @get("/all", opt={**OPERATOR, "query": (*PARAMETERS, "action")})
    async def ask(self, view: NamedDependency[View]) -> Response[str]:
        """How many match, before all of them are aborted or retried."""
        query = view.request.query_params
        search = _understood(query)
        action = _action(query.get("action", ""), search)
        which, capped = await searched(view, action, search.which)
        count = await counted(view, action, which)
        return await view.page(
            "jobs_all.html",
            search=search,
            count=count,
            action=action,
            most=COUNTED,
            capped=capped,
            searched=view.sizes.searched_records,
        )

    @post("/all", opt=OPERATOR)
    async def change_all(self, view: NamedDependency[View]) -> Response[Any]:
        """Abort or retry all that match, by a job that reports its progress."""
        form = await view.form()
        search = _understood({name: form.text(name) for name in PARAMETERS})
        action = _action(form.text("action"), search)
        which, _ = await searched(view, action, search.which)
        return await begun(view, form, action, which)

    @post("/change", opt=OPERATOR)
    async def change(self, view: NamedDependency[View]) -> Response[Any]:
        """Do the same with each job that was chosen."""
        form = await view.form()
        action, back = form.text("action"), form.text("back")
        chosen = [_place(text) for text in form.all("selected")][:MOST_CHOSEN]
        if not chosen:
            return view.done("Choose jobs first: nothing was changed.", back, kind="error")
        do = _ACTIONS.get(action)
        if do is None:
            return view.done("There is no such action: nothing was changed.", back, kind="error")
        refused, done = list[str](), 0
        for queue, key in chosen:
            try:
                await do(view, key, queue, form.reason())
                done += 1
            except QueueUnavailable as error:
                # Each of the others would wait as long.
                if not done:
                    raise
                refused.insert(0, f"The others were not changed: {error}")
                break
            except QueueError as error:
                refused.append(f"{key}: {error}")
        text = "\n".join([f"{_SAID[action]} {done:,} of {len(chosen):,} jobs.", *refused[:5]])
        return view.done(text, back, kind="error" if refused else "ok")


async def retry(view: View, key: str, queue: str, why: str) -> None:
    """Queue a job again that has ended; one that Redis has forgotten is replayed, if it is a dead letter."""
    job_id = view.queues.look_up(queue).job_id(key)
    try:
        async with view.doing("retry", "job", [key], queue=queue, why=why):
            await view.queues.retry(job_id)
    except JobNotFound:
        if not view.keeps_records:
            raise
        await replay(view, key, queue, why)


async def abort(view: View, key: str, queue: str, why: str) -> None:
    """Abort a job."""
    reason = f"aborted by {view.person.name}" + (f": {why}" if why else "")
    job_id = view.queues.look_up(queue).job_id(key)
    async with view.doing("abort", "job", [key], queue=queue, why=why):
        await view.queues.abort(job_id, reason)


async def replay(view: View, key: str, queue: str, why: str) -> None:
    """Replay a dead letter."""
    async with view.dead_letters() as letters:
        await letters.replay(view.queues.look_up(queue).job_id(key), by=view.person.name, why=why)
        await letters.audit.add(view.entry("replay", "dead letter", [key], queue=queue, why=why))


async def discard(view: View, key: str, queue: str, why: str) -> None:
    """Discard a dead letter."""
    async with view.dead_letters() as letters:
        await letters.discard(view.queues.look_up(queue).job_id(key), by=view.person.name, why=why)
        await letters.audit.add(view.entry("discard", "dead letter", [key], queue=queue, why=why))


_ACTIONS: Final[dict[str, Callable[[View, str, str, str], Awaitable[None]]]] = {
    "retry": retry,
    "abort": abort,
    "replay": replay,
    "discard": discard,
}
_SAID: Final = {"retry": "Queued again", "abort": "Aborted", "replay": "Replayed", "discard": "Discarded"}


async def _named(view: View, search: Search) -> JobDetails | None:
    """The job whose key was searched for."""
    if not search.key:
        return None
    key, queue = view.queues.locate(search.key)
    known = await view.known(key, queue)
    return known.jobs[0][0] if known else None


def _place(text: str) -> tuple[str, str]:
    """Queue and key of a chosen job.

    Raises:
        ValidationException: it is not what `rendering.place` writes.
    """
    try:
        queue, key = msgspec.json.decode(text, type=tuple[str, str])
    except msgspec.DecodeError:
        raise ValidationException(f"{text[:100]!r} names no job: nothing was changed") from None
    return queue, key


def _action(text: str, search: Search) -> Literal["abort", "retry"]:
    """The action on all that match.

    Raises:
        ValidationException: there is no such action, or it is not possible with jobs of that status.
    """
    status = search.which.status
    if text == "abort" and status in (None, "queued", "active"):
        return "abort"
    if text == "retry" and status in (None, *RECORDED):
        return "retry"
    raise ValidationException(f"action: abort jobs that wait or run, or retry jobs that have ended; not {text!r}")


def _understood(given: Mapping[str, str]) -> Search:
    """The search of a query or a form, for what must not act on more than was asked for.

    Raises:
        InvalidSearch: it cannot be understood.
    """
    search = search_of(given)
    if search.problem:
        raise InvalidSearch(search.problem)
    return search


async def _export(view: View, media_type: str, name: str, written: Callable[[Any], str], head: str) -> Stream:
    # This and the first page before the answer begins: a stream that breaks off later looks like a complete list.
    search = _understood(view.request.query_params)
    if search.which.queue is not None:
        view.queues.look_up(search.which.queue)
    first = await page_of(view, search, None, PORTION, listing.LOOKED_AT, whole=True)

    async def lines() -> AsyncIterator[str]:
        yield head
        count, page = 0, first
        while True:
            for job in (*page.live, *page.recorded):
                yield written({column: getattr(job, column) for column in COLUMNS})
            count += len(page.live) + len(page.recorded)
            if page.cursor is None or count >= EXPORTED:
                return
            left = min(PORTION, EXPORTED - count)
            page = await page_of(view, search, page.cursor, left, listing.LOOKED_AT, whole=True)

    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Stream(lines(), media_type=media_type, headers=headers)


def _csv_row(job: dict[str, Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([_csv_cell(job[column]) for column in COLUMNS])
    return line.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode().strip('"')
    # A spreadsheet would take such text for a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
