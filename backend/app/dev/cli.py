"""The commands `up`, `web`, `worker`, `shell`, `cli`, `demo`, `migrate`, `services`, `stop` and `catalog`."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from app.dev.console import Console
from app.dev.demo.running import NotRunningError, require_running
from app.dev.given import require_given_servers
from app.dev.program import Program
from app.dev.ready import PortTakenError, base_url, require_free_port, show_banner, wait_until_live
from app.dev.runner import EXIT_MISCONFIGURED, Runner, StopSignal
from app.dev.shell import CLI, SHELL, migrated, run_in_terminal
from app.dev.watch import Watch
from app.settings import REPOSITORY, Settings, SettingsError, load_settings
from saqueduct.embedded.servers import ServerError
from saqueduct.embedded.services import DATABASE_URL, REDIS_URL, Services

BACKEND = Path(__file__).resolve().parents[2]
WEB = Program("web", (sys.executable, "-m", "app.main"))
WORKER = Program("worker", (sys.executable, "-m", "app.worker"))
MIGRATE = Program("migrate", (sys.executable, "-m", "app.db.migrate"))

EXIT_FAILED = 1

KILL_SECONDS = 5
"""Seconds beyond WORKER_GRACE_PERIOD after which a process that ignores SIGTERM is killed."""


class Development:
    """One foreground command: servers, migrations, then programs (if any) until Ctrl-C."""

    def __init__(self, settings: Settings, *programs: Program) -> None:
        self.settings = settings
        self.programs = programs
        self.services = services_of(settings)
        self.began = time.monotonic()

    async def run(self) -> int:
        """Run it; returns the exit status.

        Raises:
            PortTakenError: before anything has started.
            ServerError: a server does not start, or one that the settings name does not answer.
        """
        if WEB in self.programs:
            require_free_port(self.settings.web.host, self.settings.web.port)
        await asyncio.to_thread(require_given_servers, self.settings)
        console = Console([program.name for program in self.programs or [MIGRATE]])
        stop = StopSignal(console)
        # Starting and stopping the servers takes a moment and must not be interrupted by a signal: it runs in a thread.
        environment = await asyncio.to_thread(self.services.start)
        try:
            return await self._run_programs(environment, console, stop)
        finally:
            await asyncio.to_thread(self.services.release)

    async def _run_programs(self, environment: dict[str, str], console: Console, stop: StopSignal) -> int:
        runner = Runner(
            self.programs,
            environment={**environment, "DEV_DIR": str(self.services.directory)},
            directory=BACKEND,
            grace=self.settings.worker.grace_period + KILL_SECONDS,
            watch=Watch((BACKEND / "app", BACKEND / "saqueduct"), REPOSITORY / ".env"),
            console=console,
            stop=stop,
        )
        if not stop.is_set() and await runner.run_once(MIGRATE) and not stop.is_set():
            console.say("the migrations failed: see above")
            return EXIT_FAILED
        if self.programs and not stop.is_set():
            await runner.run(self._announcement(console))
        return 0

    def _announcement(self, console: Console) -> Callable[[], Awaitable[None]]:
        async def announce() -> None:
            if WEB in self.programs:
                await wait_until_live(base_url(self.settings))
                show_banner(console, self.settings, self.services.directory, time.monotonic() - self.began)
            else:
                console.say(f"the worker runs; data in {self.services.directory}; Ctrl-C stops it")

        return announce


def services_of(settings: Settings) -> Services:
    """The servers of the checkout; a relative DEV_DIR counts from the top of the repository."""
    given = {REDIS_URL: settings.redis.url, DATABASE_URL: settings.database.url}
    return Services(REPOSITORY / settings.app.dev_dir, [name for name, url in given.items() if not url])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Development on this machine: real servers, web process and worker, with reload."""


@main.command()
def up() -> None:
    """Servers, migrations, web process and worker."""
    sys.exit(asyncio.run(Development(load_settings(), WEB, WORKER).run()))


@main.command()
def web() -> None:
    """Servers, migrations and the web process."""
    sys.exit(asyncio.run(Development(load_settings(), WEB).run()))


@main.command()
def worker() -> None:
    """Servers, migrations and the worker."""
    sys.exit(asyncio.run(Development(load_settings(), WORKER).run()))


@main.command()
def shell() -> None:
    """Servers, migrations and a Python shell, which runs jobs itself when no worker is live."""
    sys.exit(run_in_terminal(SHELL, services_of(load_settings()), BACKEND))


@main.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def cli(arguments: tuple[str, ...]) -> None:
    """Servers, migrations and one command of the command line, `saqueduct`."""
    program = Program(CLI.name, (*CLI.command, *arguments))
    sys.exit(run_in_terminal(program, services_of(load_settings()), BACKEND))


@main.command()
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed makes another day.")
@click.option("--remove", is_flag=True, help="Take away what the last call has added.")
def demo(seed: int, remove: bool) -> None:
    """A day of lifelike jobs for the console of a running `up`."""
    settings = load_settings()
    services = services_of(settings)
    require_running(settings, services)
    options = ("--seed", str(seed), *(("--remove",) if remove else ()))
    sys.exit(run_in_terminal(migrated("demo", "app.dev.demo", *options), services, BACKEND))


@main.command()
def migrate() -> None:
    """Servers and migrations only."""
    sys.exit(asyncio.run(Development(load_settings()).run()))


@main.command()
def services() -> None:
    """Servers only, in the background until `stop`; prints the variables that name them."""
    settings = load_settings()
    for name, url in services_of(settings).keep_running().items():
        click.echo(f"{name}={url}")
    click.echo("# running in the background until `make stop`", err=True)


@main.command()
def stop() -> None:
    """Every command and server of this checkout."""
    settings = load_settings()
    count = services_of(settings).stop(settings.worker.grace_period + KILL_SECONDS)
    click.echo(f"stopped{f' {count} running command(s) and' if count else ''} the servers")


@main.command()
@click.option("--check", is_flag=True, help="Write nothing; end with status 1 when the file is stale.")
@click.option("--path", type=click.Path(path_type=Path), help="The file; app/queue/catalog.py by default.")
def catalog(check: bool, path: Path | None) -> None:
    """Write app/queue/catalog.py: the names of all tasks, and a typed property for each."""
    # Here: the other commands need no task, and start even while a task is being edited.
    import app.queue.config  # noqa: F401
    from app.dev.catalog import CATALOG, CatalogError, is_stale, render
    from app.queue.registry import get_registry

    tasks, path = get_registry().get_all_tasks(), path or CATALOG
    try:
        stale = is_stale(tasks, path)
        if stale and not check:
            path.write_text(render(tasks), encoding="utf-8")
    except CatalogError as error:
        raise click.ClickException(str(error)) from None
    name = os.path.relpath(path)
    if stale and check:
        raise click.ClickException(f"{name} is stale: run `make catalog`")
    click.echo(f"{name}: {'written' if stale else 'up to date'}")


def run() -> None:
    """Run the command of the command line; errors that the user can fix are shown without a traceback."""
    try:
        main()
    except (ServerError, PortTakenError, NotRunningError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_FAILED)
    except SettingsError as error:
        click.echo(error, err=True)
        sys.exit(EXIT_MISCONFIGURED)
