"""The application without an event loop: `open_container()` for scripts, and `python -m app.shell` (`make shell`).

with open_container() as container:
    registry = container.get(TasksRegistry)
    result = registry.cleanup_sessions.delay(days_old=7).get(timeout=10)
"""

import ast
import asyncio
import code
import inspect
import os
import platform
import rlcompleter
import signal
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any

import click
import msgspec

from app.container import build_container
from app.logs import configure_logging
from app.queue.catalog import TaskName, TasksRegistry
from app.queue.config import build_config
from app.settings import Settings, SettingsError, load_settings
from saqueduct import ConfigurationError, EngineQueue, EngineWorker, Queues, QueueUnavailable, Saqueduct, get_registry
from saqueduct.application import build_workers
from saqueduct.blocking import BlockingContainer
from saqueduct.injection.dishka import DishkaInjector
from saqueduct.injection.injector import Injector

EXIT_MISCONFIGURED = 2

BANNER = """\
Saqueduct: `registry` has all tasks, `container` everything else, such as container.get(Settings).

    result = registry.cleanup_sessions.delay(days_old=7).get(timeout=10)
    result["deleted_count"]
    job = await registry.ping.enqueue()

{jobs} Ctrl-D leaves."""


def open_container(settings: Settings | None = None) -> BlockingContainer:
    """The application's container with connected queues, during a block or until the process ends.

    Args:
        settings: of this process; read from the environment by default.

    Raises:
        SettingsError: the settings are invalid or name no servers.
        ConfigurationError: the tasks do not fit the settings, or this process has connected queues already.
        CalledInEventLoop: this thread runs an event loop.
    """
    settings = (settings or load_settings()).require_servers()

    def build() -> tuple[Queues, Injector]:
        queues = Saqueduct(build_config(settings)).queues
        return queues, DishkaInjector(build_container(settings, queues))

    return BlockingContainer(build)


def unserved(container: BlockingContainer, settings: Settings) -> list[str]:
    """The queues of WORKER_QUEUES that no live worker serves.

    Raises:
        QueueUnavailable: Redis did not answer.
    """
    names = settings.worker_queues
    return [name for name in names if not container.run(_is_served, container.queues.get(name))]


@contextmanager
def working(container: BlockingContainer, settings: Settings, names: list[str]) -> Iterator[None]:
    """Workers of these queues in the container's event loop, during a block; they stop gracefully.

    Raises:
        ConfigurationError: the tasks do not fit the container.
    """
    if not names:
        yield
        return
    workers, running = container.run(_start_workers, container, settings, names)
    try:
        yield
    finally:
        container.run(_stop_workers, workers, running)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--worker", is_flag=True, help="Run jobs in the background of the shell when no worker is live.")
def main(worker: bool) -> None:
    """Open a Python shell with the tasks' registry and the container; reads a script from a pipe as well."""
    signal.signal(signal.SIGTERM, _exit_orderly)
    try:
        settings = _quiet(load_settings().require_servers())
        configure_logging(settings)
        with open_container(settings) as container:
            missing = unserved(container, settings)
            with working(container, settings, missing if worker else []):
                _interact(container, _namespace(container, settings), _who_runs_jobs(missing, worker))
    except (SettingsError, ConfigurationError, QueueUnavailable) as error:
        click.echo(error, err=True)
        sys.exit(EXIT_MISCONFIGURED)


def _namespace(container: BlockingContainer, settings: Settings) -> dict[str, Any]:
    """The names that the shell defines."""
    return {
        "__name__": "__console__",
        "Settings": Settings,
        "TaskName": TaskName,
        "TasksRegistry": TasksRegistry,
        "container": container,
        "registry": container.get(TasksRegistry),
        "settings": settings,
    }


def _who_runs_jobs(missing: list[str], worker: bool) -> str:
    if not missing:
        return "Jobs are run by the worker that is running."
    if worker:
        return "No worker is running, so this shell runs the jobs itself, as long as it is open."
    return f"No worker is running for {', '.join(missing)}: jobs wait until `python -m app.worker` runs."


class Shell(code.InteractiveConsole):
    """Python's own shell, in which `await` works at top level, on the event loop of the queues.

    Args:
        namespace: the names that it defines.
        container: whose event loop runs what is awaited.
    """

    def __init__(self, namespace: dict[str, Any], container: BlockingContainer) -> None:
        super().__init__(namespace)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._namespace, self._container = namespace, container

    def runcode(self, code: CodeType) -> None:
        """Run a statement, and wait for what it awaits; errors are shown, `exit()` leaves."""
        try:
            result = FunctionType(code, self._namespace)()
            if inspect.iscoroutine(result):
                self._container.run(_awaited, result)
        except SystemExit:
            raise
        except BaseException:
            self.showtraceback()


async def _awaited(coroutine: Coroutine[Any, Any, Any]) -> None:
    await coroutine


def _interact(container: BlockingContainer, namespace: dict[str, Any], jobs: str) -> None:
    # As in Python's own shell: history, and completion for this namespace.
    if sys.stdin.isatty() and (hook := getattr(sys, "__interactivehook__", None)):
        hook()
        import readline

        readline.set_completer(rlcompleter.Completer(namespace).complete)
    Shell(namespace, container).interact(BANNER.format(jobs=jobs), exitmsg="")


def _quiet(settings: Settings) -> Settings:
    """Warnings only: the shell's worker writes to the terminal in which the user types."""
    return msgspec.structs.replace(settings, app=msgspec.structs.replace(settings.app, log_level="WARNING"))


async def _is_served(queue: EngineQueue) -> bool:
    await queue.ping()
    workers = (await queue.info())["workers"].values()
    return any(_is_alive(info.get("metadata") or {}) for info in workers)


def _is_alive(metadata: dict[str, Any]) -> bool:
    """False for a worker of this machine that was killed; its last report outlives it by up to half a minute."""
    if metadata.get("host") != platform.node() or not metadata.get("pid"):
        return True
    try:
        os.kill(metadata["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _start_workers(
    container: BlockingContainer, settings: Settings, names: list[str]
) -> tuple[list[EngineWorker], "asyncio.Future[list[None]]"]:
    metadata = {"host": platform.node(), "pid": os.getpid()}
    config = build_config(settings)
    workers = build_workers(config, container.queues, get_registry(), container.queues.injector, names, metadata)
    # Plain `def` tasks run in threads, as in app/worker.py.
    threads = ThreadPoolExecutor(settings.worker.concurrency * len(workers), "task")
    asyncio.get_running_loop().set_default_executor(threads)
    return workers, asyncio.gather(*(worker.start() for worker in workers))


async def _stop_workers(workers: list[EngineWorker], running: "asyncio.Future[list[None]]") -> None:
    for worker in workers:
        worker.request_stop()
    await running


def _exit_orderly(number: int, _: Any) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
