"""`litestar workers run` and `litestar workers status`: litestar-saq's commands on Saqueduct's workers."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from click import Group, command, group, option
from litestar import Litestar
from litestar.cli._utils import LitestarEnv, LitestarGroup, console
from rich.table import Table

from saqueduct.application import Saqueduct
from saqueduct.cli.connection import connection
from saqueduct.cli.reporting import reporting
from saqueduct.cli.running import run_workers, worker_options
from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError
from saqueduct.queue.queue import QueueStats
from saqueduct.serving import EXIT_MISCONFIGURED

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
    @worker_options
    @verbose
    @debug
    def run(app: Litestar, env: LitestarEnv, verbose: bool, debug: bool, **given: Any) -> None:
        """Run jobs until SIGTERM or Ctrl-C. Running jobs then get the grace period, the others are queued again.

        A worker process enters no lifespan of the application but those of `worker_lifespans`.
        """
        _prepare(app, verbose, debug)
        flags = [*(["--verbose"] if verbose else []), *(["--debug"] if debug else [])]
        try:
            run_workers(plugin.saqueduct, _one_process(env, flags), plugin.worker_lifespans(app), **given)
        except ConfigurationError as error:
            print(error, file=sys.stderr)
            sys.exit(EXIT_MISCONFIGURED)

    @command(name="status")
    @verbose
    @debug
    def status(app: Litestar, verbose: bool, debug: bool) -> None:
        """Show the queues, their jobs and their live workers."""
        _prepare(app, verbose, debug)
        with reporting():
            stats = asyncio.run(_stats(plugin.saqueduct))
        console.print(_settings_table(app, plugin), _queue_table(stats))

    # Litestar's group injects `app` and `env`. Its type requires rich_click's commands if that is installed.
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


def _one_process(env: LitestarEnv, flags: Sequence[str]) -> list[str]:
    """This command again, without the options that `run_workers` adds."""
    litestar = [sys.executable, "-m", "litestar", "--app", env.app_path, "--app-dir", str(env.cwd)]
    return [*litestar, "workers", "run", *flags]


async def _stats(saqueduct: Saqueduct) -> dict[str, QueueStats]:
    async with connection(saqueduct):
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
