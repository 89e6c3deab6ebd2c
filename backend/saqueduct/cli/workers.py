"""`workers`: list, pause and resume the live ones, and run some."""

import logging
import sys
from typing import Any

import click
import msgspec

from saqueduct.application import Saqueduct
from saqueduct.broker.outage import answering
from saqueduct.cli import options, output
from saqueduct.cli.audit import entry
from saqueduct.cli.connection import connected
from saqueduct.cli.nouns import Nouns
from saqueduct.cli.pauses import PauseView
from saqueduct.cli.running import run_workers, worker_options
from saqueduct.cli.target import target
from saqueduct.queue.queue import EngineQueue


class WorkerView(msgspec.Struct):
    """A live worker, as it last reported; its counts are since its start."""

    id: str
    queue: str
    complete: int
    failed: int
    retried: int
    aborted: int
    uptime: float
    """Seconds since its start."""

    @classmethod
    def of(cls, id_: str, queue: str, report: dict[str, Any]) -> "WorkerView":
        stats = report.get("stats") or {}
        counts = {name: int(stats.get(name, 0)) for name in ("complete", "failed", "retried", "aborted")}
        return cls(id=id_, queue=queue, uptime=stats.get("uptime", 0) / 1000, **counts)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Jobs that ended complete, failed attempts, retries, and aborted jobs."""
        return self.complete, self.failed, self.retried, self.aborted


@click.group(cls=Nouns)
def workers() -> None:
    """See, pause and resume live workers."""


@workers.command("list")
@click.option("--queue", help="Of this queue.")
@options.as_json
@connected
async def list_workers(saqueduct: Saqueduct, *, queue: str | None, as_json: bool) -> None:
    """List the live workers: what they have done since their start, and what is wrong with them."""
    queues = list(saqueduct.queues) if queue is None else [saqueduct.queues.look_up(queue)]
    found = [view for each in queues for view in await _views(each)]
    reports = [report for each in queues for report in (await each.state()).reports]
    wrong = [sentence for each in queues for sentence in await each.problems()]
    paused = {report.worker: PauseView.of(report.paused) for report in reports if report.paused is not None}
    if as_json:
        output.emit({"workers": found, "problems": wrong, "paused": paused})
        return
    if not found:
        output.note("no worker is live")
        return
    rows = [(view.id, view.queue, *map("{:,}".format, view.counts), output.lasting(view.uptime)) for view in found]
    heads = ("Worker", "Queue", "Complete#", "Failed#", "Retried#", "Aborted#", "Up#")
    output.show(output.table(*heads, rows=rows, fixed=("Worker", "Queue", "Up")))
    output.show(*(output.line(f"{worker} is paused {pause}", "yellow") for worker, pause in paused.items()))
    output.show(*(output.line(sentence, "yellow") for sentence in wrong))


@workers.command()
@click.argument("worker", metavar="ID")
@options.who
@options.as_json
@connected
async def pause(saqueduct: Saqueduct, worker: str, *, by: str, why: str, as_json: bool) -> None:
    """Ask a worker to take no more jobs of any queue, until it is resumed or ends; what it runs continues.

    ID is one that `list` shows.
    """
    process = await saqueduct.queues.workers.pause(worker, by, why)
    await saqueduct.queues.audit.note(entry("pause", "worker", [process.id], why=why))
    paused = None if process.paused is None else PauseView.of(process.paused)
    output.answer({"id": process.id, "paused": paused}, f"paused {process.id} {paused}", as_json=as_json)


@workers.command()
@click.argument("worker", metavar="ID")
@options.as_json
@connected
async def resume(saqueduct: Saqueduct, worker: str, *, as_json: bool) -> None:
    """Let a worker take jobs again."""
    was_paused = await saqueduct.queues.workers.resume(worker)
    if was_paused:
        await saqueduct.queues.audit.note(entry("resume", "worker", [worker]))
    text = f"resumed {worker}" if was_paused else f"{worker} was not paused"
    output.answer({"id": worker, "was_paused": was_paused}, text, as_json=as_json)


@click.command("run")
@worker_options
@click.option("-v", "--verbose", is_flag=True, help="Log each start and end of a job.")
def run_alone(*, verbose: bool, **given: Any) -> None:
    """Run jobs until SIGTERM or Ctrl-C. Running jobs then get the grace period, the others are queued again."""
    application = target()
    saqueduct = application.saqueduct
    # Does nothing if the application has configured logging.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if verbose:
        logging.getLogger("saqueduct").setLevel(logging.DEBUG)
    path, directory = (click.get_current_context().find_root().params[name] for name in ("path", "directory"))
    command = [sys.executable, "-m", "saqueduct.cli", "--app", path, *(["--app-dir", directory] if directory else [])]
    command += ["workers", "run", *(["--verbose"] if verbose else [])]
    run_workers(saqueduct, command, application.lifespans, **given)


workers_alone = Nouns("workers", {**workers.commands, "run": run_alone}, help="Run workers, and see the live ones.")
"""For a command line of their own, which has no other place to run some."""


async def _views(queue: EngineQueue) -> list[WorkerView]:
    async with answering(queue.core.timings.answer):
        reports = (await queue.info())["workers"]
    return sorted((WorkerView.of(id_, queue.name, dict(report)) for id_, report in reports.items()), key=lambda v: v.id)
