"""`jobs`: waiting and running jobs, from Redis, and ended ones, from their records."""

import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import click
import msgspec
from rich.text import Text
from saq import Job

from saqueduct import record_sessions as records
from saqueduct.application import Saqueduct
from saqueduct.cli import options, output, views
from saqueduct.cli.audit import entry
from saqueduct.cli.connection import connected, naming_tables
from saqueduct.cli.errors import in_one_line
from saqueduct.cli.failures import FAILED, Failure
from saqueduct.cli.nouns import Nouns
from saqueduct.errors import QueueError
from saqueduct.job_lookup import look_up
from saqueduct.postgres.job_details import JobDetails
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.queue.audit import Action
from saqueduct.queue.listing import LIVE, JobListing, LiveState

ENDED = ("complete", "failed", "aborted")


@click.group(cls=Nouns)
def jobs() -> None:
    """Find, retry and abort jobs."""


@jobs.command("list")
@click.option(
    "--status", type=click.Choice((*LIVE, *ENDED)), help="With this status; by default all that have a record."
)
@click.option("--delayed", is_flag=True, help="Those that wait for their time, of the queued ones.")
@click.option("--queue", help="Of this queue.")
@options.filters
@options.paging
@options.as_json
@connected
async def list_jobs(
    saqueduct: Saqueduct,
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
    state: LiveState | None = "delayed" if delayed else LIVE.get(status or "")
    recorded = status if state is None else None
    if queue is not None:
        saqueduct.queues.look_up(queue)
    which = options.record_filter(saqueduct.registry, queue=queue, status=recorded, **given)
    if state is not None:
        found, after = await _live(saqueduct, state, which, cursor, limit)
        show_page(found, after, as_json=as_json, nothing="no jobs match")
        return
    async with records.history(saqueduct) as history:
        page = await history.page(which, cursor, limit, saqueduct.config.sizes.searched_records)
    found = [JobDetails.of_record(saqueduct.queues, record) for record in page.records]
    show_page(found, page.cursor, as_json=as_json, nothing="no jobs match", since=page.searched_since)


async def _live(
    saqueduct: Saqueduct, state: LiveState, which: RecordFilter, cursor: str | None, limit: int
) -> tuple[list[JobDetails], str | None]:
    queues = [queue for queue in saqueduct.queues if which.queue in (None, queue.name)]
    page = await JobListing(queues, state).page(which.matches, cursor, limit, which.words)
    return [JobDetails.of_job(job) for job in page.jobs], page.cursor


def show_page(
    found: Sequence[JobDetails],
    after: str | None,
    *,
    as_json: bool,
    nothing: str,
    dead: bool = False,
    since: dt.datetime | None = None,
) -> None:
    """Print a page of jobs, and where the next begins.

    Args:
        found: the jobs.
        after: cursor of the next page.
        as_json: as `{"jobs": [...], "cursor": ..., "searched_since": ...}`.
        nothing: the text to print if there are none.
        dead: see `views.listed`.
        since: of which times of enqueue the page has the jobs, see `RecordsPage.searched_since`.
    """
    if as_json:
        output.emit({"jobs": found, "cursor": after, "searched_since": since})
        return
    if found:
        output.show(views.listed(found, dead=dead))
    else:
        output.note(nothing)
    if since is not None:
        output.note(f"searched back to {output.when(since)}; older ones: --cursor {after}")
    elif after is not None:
        output.note(f"more: --cursor {after}")


@jobs.command()
@click.argument("key")
@options.as_json
@connected
async def show(saqueduct: Saqueduct, key: str, *, as_json: bool) -> None:
    """Show a job: what Redis has, all records of its key, and its replays."""
    await show_history(saqueduct, key, as_json=as_json)


async def show_history(saqueduct: Saqueduct, key: str, *, as_json: bool) -> None:
    """Print everything known about the jobs with a key.

    Raises:
        Failure: nothing is known.
    """
    key, queue = saqueduct.queues.locate(key)
    known = await look_up(saqueduct, key, queue)
    if not known:
        raise Failure(
            f"no job has the key {key!r}, neither in Redis nor in the records: it never existed, or was deleted"
        )
    if as_json:
        fields = msgspec.structs.asdict(known)
        # The same job as in `redis` or `outbox`, as SAQ has it.
        del fields["live"]
        output.emit({"key": key, **fields})
        return
    for number, (job, where) in enumerate(known.jobs):
        output.show(*([""] if number else []), views.described(job, where))
    if known.replays:
        output.show("", output.line("replayed as", "dim"), views.listed(known.replays))


@jobs.command()
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@options.as_json
@connected
async def retry(saqueduct: Saqueduct, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Queue jobs that have ended again, with the same key and arguments, while Redis still has them."""

    async def again(key: str) -> None:
        await _done(saqueduct, "retry", key, saqueduct.queues.retry)

    await each(keys, again, "retried", as_json=as_json)


@jobs.command()
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option(
    "--why", type=options.Remark(), default="aborted by request", show_default=True, help="Becomes the job's error."
)
@options.as_json
@connected
async def abort(saqueduct: Saqueduct, keys: tuple[str, ...], *, why: str, as_json: bool) -> None:
    """Abort jobs: waiting ones end immediately, running ones when their worker notices, within about a second."""

    async def end(key: str) -> None:
        await _done(saqueduct, "abort", key, partial(saqueduct.queues.abort, reason=why), why)

    await each(keys, end, "aborted", as_json=as_json)


async def _done(
    saqueduct: Saqueduct, action: Action, given: str, do: Callable[[str], Awaitable[Job]], why: str = ""
) -> None:
    """Do something to a job, and note it."""
    key, queue = saqueduct.queues.locate(given)
    async with saqueduct.queues.audit.doing(entry(action, "job", [key], queue=queue, why=why)) as planned:
        async with naming_tables(saqueduct):
            job = await do(given)
        planned.entry = entry(action, "job", [job.key], task=job.function, queue=job.get_queue().name, why=why)


async def each(
    keys: Sequence[str],
    action: Callable[[str], Awaitable[str | None]],
    done: str,
    *,
    as_json: bool,
    answers: bool = False,
) -> None:
    """Run an action for each key. Failures are reported, and the others continue.

    Args:
        keys: of jobs.
        action: called with a key; may return the key of a job that was made.
        done: the past participle of the action.
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
                refused[key] = in_one_line(error)
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
