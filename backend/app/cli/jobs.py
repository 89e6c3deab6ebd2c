"""`jobs`: those that wait or run, out of Redis, and those that have ended, out of their records."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click
from rich.text import Text

from app.cli import options, output, views
from app.cli.application import Application, connected
from app.cli.errors import FAILED, Failure, Nouns, told
from saqueduct import QueueError
from saqueduct.errors import JobNotFound
from saqueduct.postgres.history import JobHistory, RecordFilter
from saqueduct.postgres.job_details import JobDetails
from saqueduct.queue import listing
from saqueduct.queue.listing import LIVE, Standing

ENDED = ("complete", "failed", "aborted")


@click.group(cls=Nouns)
def jobs() -> None:
    """Find, retry and abort jobs."""


@jobs.command("list")
@click.option("--status", type=click.Choice((*LIVE, *ENDED)), help="How they stand; by default all that left a record.")
@click.option("--delayed", is_flag=True, help="Those that wait for their time, of the queued ones.")
@click.option("--queue", help="Of this queue.")
@options.filters
@options.paging
@options.as_json
@connected
async def list_jobs(
    app: Application,
    *,
    status: str | None,
    delayed: bool,
    queue: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """List jobs: by their records, newest first; queued, active and aborting ones as Redis has them."""
    if delayed and status not in (None, "queued"):
        raise click.UsageError(f"--delayed goes with --status queued, not {status}")
    standing: Standing | None = "delayed" if delayed else LIVE.get(status or "")
    if queue is not None:
        app.queues.look_up(queue)
    if standing is not None:
        found, after = await _live(app, standing, options.record_filter(queue=queue, **given), cursor, limit)
    else:
        which = options.record_filter(status=status, queue=queue, **given)
        found, after = await _recorded(app, which, cursor, limit)
    show_page(found, after, as_json=as_json, nothing="no jobs match")


async def _recorded(
    app: Application, which: RecordFilter, cursor: str | None, limit: int
) -> tuple[list[JobDetails], str | None]:
    async with app.container() as request:
        page = await (await request.get(JobHistory)).page(which, cursor, limit)
    return [JobDetails.of_record(app.queues, record) for record in page.records], page.cursor


async def _live(
    app: Application, standing: Standing, which: RecordFilter, cursor: str | None, limit: int
) -> tuple[list[JobDetails], str | None]:
    queues = [queue for queue in app.queues if which.queue in (None, queue.name)]
    page = await listing.page(queues, standing, which.matches, cursor, limit)
    return [JobDetails.of_job(job) for job in page.jobs], page.cursor


def show_page(
    found: Sequence[JobDetails], after: str | None, *, as_json: bool, nothing: str, dead: bool = False
) -> None:
    """Print a page of jobs, and where the next begins.

    Args:
        found: the jobs.
        after: cursor of the next page.
        as_json: as `{"jobs": [...], "cursor": ...}`.
        nothing: what to say where there are none.
        dead: see `views.listed`.
    """
    if as_json:
        output.emit({"jobs": found, "cursor": after})
        return
    if found:
        output.show(views.listed(found, dead=dead))
    else:
        output.note(nothing)
    if after is not None:
        output.note(f"more: --cursor {after}")


@jobs.command()
@click.argument("key")
@options.as_json
@connected
async def show(app: Application, key: str, *, as_json: bool) -> None:
    """Show a job: as Redis has it, all records of its key, and what became of its replays."""
    await show_history(app, key, as_json=as_json)


async def show_history(app: Application, key: str, *, as_json: bool) -> None:
    """Print all that is known of the jobs of a key.

    Raises:
        Failure: nothing is.
    """
    key, queue = app.queues.locate(key)
    present, waiting = await _in_redis(app, key, queue), None
    async with app.container() as request:
        history = await request.get(JobHistory)
        if present is None and (found := await history.unpublished(key, app.queues, queue)) is not None:
            waiting = JobDetails.of_job(found)
        records = [JobDetails.of_record(app.queues, record) for record in await history.find(key, queue=queue)]
        replays = [JobDetails.of_record(app.queues, record) for record in await history.replays(key, queue)]
    if present is None and waiting is None and not records:
        raise Failure(f"neither Redis nor the records know a job with the key {key!r}: it never was, or is too old")
    if as_json:
        output.emit({"key": key, "redis": present, "outbox": waiting, "records": records, "replays": replays})
        return
    for number, (job, where) in enumerate(views.merged(present, waiting, records)):
        output.show(*([""] if number else []), views.told(job, where))
    if replays:
        output.show("", output.line("replayed as", "dim"), views.listed(replays))


async def _in_redis(app: Application, key: str, queue: str | None) -> JobDetails | None:
    try:
        return JobDetails.of_job(await app.queues.find(key, queue))
    except JobNotFound:
        return None


@jobs.command()
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@options.as_json
@connected
async def retry(app: Application, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Queue jobs that have ended once more, with the same key and arguments, while Redis still has them."""

    async def once_more(key: str) -> None:
        await app.queues.retry(key)

    await each(keys, once_more, "retried", as_json=as_json)


@jobs.command()
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--why", default="aborted by request", show_default=True, help="Becomes the job's error.")
@options.as_json
@connected
async def abort(app: Application, keys: tuple[str, ...], *, why: str, as_json: bool) -> None:
    """Abort jobs: waiting ones end at once, running ones when their worker notices, within about a second."""

    async def end(key: str) -> None:
        await app.queues.abort(key, why)

    await each(keys, end, "aborted", as_json=as_json)


async def each(
    keys: Sequence[str],
    action: Callable[[str], Awaitable[str | None]],
    done: str,
    *,
    as_json: bool,
    answers: bool = False,
) -> None:
    """Do something to each key; what cannot be done is told, and the others go on.

    Args:
        keys: of jobs.
        action: called with a key; may return the key of a job that was made.
        done: the word for it.
        as_json: as `{done: [...], "refused": {key: why}}`.
        answers: in JSON each key with what the action returned.

    Raises:
        Exit: with status 1 when one could not be done.
    """
    outcomes: dict[str, str | None] = {}
    refused: dict[str, str] = {}
    with output.bar(done, len(keys)) as bar:
        for key in dict.fromkeys(keys):
            try:
                outcomes[key] = await action(key)
            except QueueError as error:
                refused[key] = told(error)
            bar.reach(len(outcomes) + len(refused))
    if as_json:
        output.emit({done: outcomes if answers else list(outcomes), "refused": refused})
    else:
        for key, made in outcomes.items():
            output.show(Text(f"{done} {output.clean(key)}{f' as {made}' if made else ''}"))
        for reason in refused.values():
            click.echo(f"error: {reason}", err=True)
    if refused:
        raise click.exceptions.Exit(FAILED)
