"""`litestar workers run` and `litestar workers status`: litestar-saq's commands on Saqueduct's workers."""

import asyncio
import dataclasses
import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from click import ClickException, FloatRange, Group, IntRange, command, group, option
from litestar import Litestar
from litestar.cli._utils import LitestarEnv, LitestarGroup, console
from rich.table import Table

from saqueduct.application import Saqueduct
from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError, QueueUnavailable
from saqueduct.queue.queue import QueueStats
from saqueduct.serving import EXIT_MISCONFIGURED, run_worker_process, run_worker_processes

verbose = option("-v", "--verbose", is_flag=True, help="Log each start and end of a job.")
debug = option("-d", "--debug", is_flag=True, help="Switch the application's debug mode on.")


class WorkerPlugin(Protocol):
    """The plugin of the application whose workers run; see `SaqueductPlugin`."""

    @property
    def config(self) -> SaqueductConfig: ...
    @property
    def saqueduct(self) -> Saqueduct: ...

    def worker_lifespans(self, app: Litestar) -> Sequence[AbstractAsyncContextManager[Any]]: ...


def workers_group(plugin: WorkerPlugin) -> Group:
    """The commands for the application of this plugin."""

    @group(cls=LitestarGroup, name="workers", no_args_is_help=True)
    def workers() -> None:
        """Run background workers, and see which run."""

    @command(name="run")
    @option("--workers", "processes", type=IntRange(min=1), help="Worker processes  [default: 1, or `processes`]")
    @option("--queues", multiple=True, help="Names of queues to serve; again or with commas for several.")
    @option("--concurrency", type=IntRange(min=1), help="Jobs of a queue that a process runs at once.")
    @option("--grace-period", type=FloatRange(min=0), help="Seconds that jobs get to end after SIGTERM or Ctrl-C.")
    @verbose
    @debug
    def run(
        app: Litestar,
        env: LitestarEnv,
        processes: int | None,
        queues: tuple[str, ...],
        concurrency: int | None,
        grace_period: float | None,
        verbose: bool,
        debug: bool,
    ) -> None:
        """Run jobs until SIGTERM or Ctrl-C. Running jobs then get the grace period, the others are queued again.

        A worker process enters no lifespan of the application but those of `worker_lifespans`.
        """
        _prepare(app, verbose, debug)
        given = {"concurrency": concurrency, "grace_period": grace_period, "worker_queues": _split(queues)}
        changes = {name: value for name, value in given.items() if value not in (None, ())}
        _configure(plugin, changes)
        if (count := processes or plugin.config.processes) > 1:
            flags = [*(["--verbose"] if verbose else []), *(["--debug"] if debug else [])]
            sys.exit(run_worker_processes(plugin.saqueduct, count, [*_one_process(env, changes), *flags]))
        try:
            run_worker_process(plugin.saqueduct, lifespans=plugin.worker_lifespans(app))
        except ConfigurationError as error:
            _fail(error)

    @command(name="status")
    @verbose
    @debug
    def status(app: Litestar, verbose: bool, debug: bool) -> None:
        """Show the queues, their jobs and their live workers."""
        _prepare(app, verbose, debug)
        try:
            stats = asyncio.run(_stats(plugin))
        except QueueUnavailable as error:
            raise ClickException(str(error)) from None
        console.print(_settings_table(app, plugin), _queue_table(stats))

    # Litestar's group injects `app` and `env`. Its type asks for rich_click's commands, where that is installed.
    commands: tuple[Any, ...] = (run, status)
    for each in commands:
        workers.add_command(each)
    return workers


def _prepare(app: Litestar, verbose: bool, debug: bool) -> None:
    if app.logging_config is not None:
        app.logging_config.configure()
    if verbose:
        logging.getLogger("saqueduct").setLevel(logging.DEBUG)
    if debug:
        app.debug = True


def _split(queues: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for given in queues for name in given.split(",") if name.strip())


def _configure(plugin: WorkerPlugin, given: dict[str, Any]) -> None:
    try:
        plugin.saqueduct.config = dataclasses.replace(plugin.config, **given)
    except ConfigurationError as error:
        _fail(error)


def _fail(error: ConfigurationError) -> None:
    print(error, file=sys.stderr)
    sys.exit(EXIT_MISCONFIGURED)


def _one_process(env: LitestarEnv, changes: dict[str, Any]) -> list[str]:
    """This command with the same options, for a single process."""
    command = [sys.executable, "-m", "litestar", "--app", env.app_path, "--app-dir", str(env.cwd)]
    command += ["workers", "run", "--workers", "1"]
    for option_name, field in (("--concurrency", "concurrency"), ("--grace-period", "grace_period")):
        command += [option_name, str(changes[field])] if field in changes else []
    return [*command, *(part for name in changes.get("worker_queues", ()) for part in ("--queues", name))]


async def _stats(plugin: WorkerPlugin) -> dict[str, QueueStats]:
    async with plugin.saqueduct as saqueduct:
        return {queue.name: await queue.stats() for queue in saqueduct.queues}


def _settings_table(app: Litestar, plugin: WorkerPlugin) -> Table:
    table = Table(show_header=False)
    table.add_column("title", style="cyan")
    table.add_column("value", style="bright_blue")
    table.add_row("Saqueduct version", _own_version())
    table.add_row("SAQ version", version("saq"))
    table.add_row("Debug mode", "Enabled" if app.debug else "Disabled")
    table.add_row("Number of Processes", str(plugin.config.processes))
    table.add_row("Queues", str(len(plugin.config.queues)))
    return table


def _own_version() -> str:
    try:
        return version("saqueduct")
    except PackageNotFoundError:
        return "not installed, runs from its source"


def _queue_table(stats: dict[str, QueueStats]) -> Table:
    table = Table("queue", "queued", "active", "scheduled", "workers")
    for name, each in stats.items():
        table.add_row(name, str(each.queued), str(each.active), str(each.scheduled), str(each.workers))
    return table
