"""Saqueduct: the queues and workers that a SaqueductConfig describes, for scripts, web applications and workers.

async with Saqueduct(SaqueductConfig(redis_url="redis://127.0.0.1:6379/0")) as saqueduct:
    job = await add.enqueue(a=1, b=2)
    async with saqueduct.working():
        print(await job.result(timeout=10))
"""

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

from saqueduct.background import BackgroundWorkers
from saqueduct.broker.connections import Connections
from saqueduct.common.data_directory import development_key
from saqueduct.common.secret import Secret
from saqueduct.config import SaqueductConfig
from saqueduct.embedded.defaults import DATABASE_URL, REDIS_URL, EmbeddedDefaults, is_embedded_postgres
from saqueduct.errors import ConfigurationError, TablesMissing, TablesOutdated
from saqueduct.injection.injector import Injector, check_dependencies
from saqueduct.injectors import Injectors, named_injector
from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.queues import Queues
from saqueduct.tasks.queues import preferring
from saqueduct.tasks.registry import TaskRegistry, get_registry
from saqueduct.telemetry.building import (
    build_alerts,
    build_history,
    build_metrics,
    build_monitors,
    build_sentry,
    build_traces,
    metrics_port,
)
from saqueduct.worker.hooks import bind_log_context, clear_log_context, give_injector, give_queue
from saqueduct.worker.worker import EngineWorker

if TYPE_CHECKING:
    from saqueduct.postgres.store import PostgresStore
    from saqueduct.telemetry.building import Observer
    from saqueduct.telemetry.monitors import ScheduleMonitors


class Saqueduct:
    """Queues, tasks, PostgreSQL and workers of one application.

    As an async context manager it connects the queues, for the tasks' own `enqueue` too, and disconnects them.

    Args:
        config: what to build.

    Attributes:
        config: the same, with the URLs of embedded servers where it names none.
        registry: the tasks.
        queues: enqueues by name, finds, aborts and retries jobs.
        store: outbox, durable jobs and job records in PostgreSQL; None: there is no PostgreSQL.

    Raises:
        ConfigurationError: a setting is missing, or a task names a queue that `config.queues` lacks.
    """

    def __init__(self, config: SaqueductConfig) -> None:
        self.registry: TaskRegistry = get_registry() if config.registry is None else config.registry
        for controller in config.task_controllers:
            self.registry.add_controller(controller)
        check_queue_names(self.registry, config.queues)
        missing = _missing_urls(config, self.registry)
        self.embedded = EmbeddedDefaults(config, missing) if missing else None
        """The embedded servers for URLs that the settings leave out; None: they leave out none."""
        self.config = config = self.embedded.applied_to(config) if self.embedded else config
        named = named_injector(config)
        if config.has_database:
            self.registry = _with_built_in(self.registry, config)
        self.store = _store(config, self.registry)
        self.queues = Queues(_queues(config, self.registry), self.registry, self.store)
        self.metrics = build_metrics(config, self.queues, self.store)
        """Reports the metrics of this process; None: they are off."""
        build_traces(config, self.queues)
        self.alerts = build_alerts(config, self.queues, self.store)
        """Reports when something is wrong; None: the settings name no channel for it."""
        self.monitors: ScheduleMonitors | None = None
        """Pings the monitors of schedules; None: they have none, or no worker has been built."""
        self.history = build_history(config, self.queues, self.store, self.metrics)
        """Writes the history of queues and tasks; None: there is none."""
        self.injectors = Injectors(config, self.queues, named)
        """What tasks are injected from, by type and by name."""
        self.queues.injector = self.injectors.all

    @property
    def injector(self) -> Injector | None:
        """What tasks are injected from; None: nothing is injected."""
        return self.queues.injector

    @property
    def signing_key(self) -> Secret:
        """Signs the tokens of jobs: `secret_key`, or in development without one a key in `data_directory`.

        Raises:
            ConfigurationError: there is none, and the folder cannot be written.
        """
        if key := self.config.secret_key:
            return Secret(key)
        try:
            return development_key(Path(self.config.data_directory))
        except OSError as error:
            raise ConfigurationError(
                f"no secret_key: give SaqueductConfig(secret_key=...), or set SECRET_KEY; {error.filename} cannot be "
                f"written to keep one for development: {error.strerror}"
            ) from None

    async def connect(self, *, check_tables: bool = True) -> None:
        """Connect the queues to the running event loop, and serve the tasks' own `enqueue` from now on.

        Args:
            check_tables: False: missing or older tables are no error until a call needs them.

        Raises:
            OtherEventLoop: they are connected in another event loop.
            ConfigurationError: a task has been registered that does not fit the settings, or an embedded server does
                not start; PostgreSQL's tables are missing, or older than the code.
        """
        check_queue_names(self.registry, self.config.queues)
        check_durable(self.registry, self.config)
        if self.embedded is None:
            await self._connect(check_tables)
            return
        await asyncio.to_thread(self.embedded.start)
        try:
            await self._connect(check_tables)
        except BaseException:
            await asyncio.to_thread(self.embedded.release)
            raise

    async def _connect(self, check_tables: bool) -> None:
        if self.store is not None and (check_tables or is_embedded_postgres(self.config)):
            await self._check_tables(self.store)
        await self.queues.connect()
        if self.history is not None:
            self.history.start()

    async def _check_tables(self, store: "PostgresStore") -> None:
        try:
            await store.check()
        except (TablesMissing, TablesOutdated):
            if not is_embedded_postgres(self.config):
                raise
            # No other process maintains that database.
            from saqueduct.postgres.migrate import migrate

            await migrate(self.config)

    async def disconnect(self) -> None:
        """Write what is left, close all connections, and stop embedded servers that no other process uses."""
        await self.injectors.close()
        if self.monitors is not None:
            await self.monitors.close()
        if self.history is not None:
            await self.history.stop()
        await self.queues.disconnect()
        if self.embedded is not None:
            await asyncio.to_thread(self.embedded.release)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    def build_workers(self, names: Iterable[str] | None = None) -> list[EngineWorker]:
        """One worker for each of these queues, not started; they share the event loop of the process.

        Args:
            names: of queues; those of `config.worker_queues` by default.

        Raises:
            ConfigurationError: no such queue; a task has a parameter that is neither JSON nor injected; `monitors`
                names an unknown schedule.
        """
        metadata = {"host": platform.node(), "pid": os.getpid()}
        served = self.config.served_queues if names is None else tuple(names)
        return build_workers(
            self.config, self.queues, self.registry, self.injector, served, metadata, self._observers()
        )

    def _observers(self) -> "list[Observer]":
        """What reports each attempt; most applications have none."""
        tasks = self.registry.get_all_tasks()
        if self.monitors is None and (monitors := build_monitors(self.config, tasks)) is not None:
            self.monitors = monitors
            for queue in self.queues:
                queue.core.on_end = monitors.ended
        observers: tuple[Observer | None, ...] = (self.monitors, build_sentry(self.config, tasks))
        return [each for each in observers if each is not None]

    def serving_metrics(self) -> AbstractContextManager[object]:
        """Serves the metrics of a process with workers at `metrics_port` during a `with` block, if there is one.

        Raises:
            ConfigurationError: the port cannot be opened.
        """
        return metrics_port(self.config, self.metrics)

    def watching(self) -> AbstractAsyncContextManager[None]:
        """Watches during an `async with` block for what alerts report, in turns with other processes; see
        `saqueduct.telemetry.alerts`."""
        return nullcontext() if self.alerts is None else self.alerts.watching()

    async def run_worker(self, names: Iterable[str] | None = None) -> None:
        """Run jobs until cancelled; running ones then get `grace_period` to end, the others are queued again.

        For a script or a test: a worker process handles signals and blocked event loops as well, see
        `saqueduct.worker.process`.

        Args:
            names: of queues; those of `config.worker_queues` by default.

        Raises:
            ConfigurationError: see `build_workers`.
        """
        async with self.working(names) as workers:
            await workers.wait()

    @asynccontextmanager
    async def working(
        self, names: Iterable[str] | None = None, *, restart: bool = False
    ) -> AsyncIterator[BackgroundWorkers]:
        """Run workers during the block; at its end they stop like those of `run_worker`.

        Args:
            names: of queues; those of `config.worker_queues` by default.
            restart: True: a worker that stops by itself is replaced.

        Raises:
            ConfigurationError: see `build_workers`.
        """
        served = self.config.served_queues if names is None else tuple(names)
        with self.serving_metrics():
            pause = self.config.timings.worker_restart if restart else None
            with preferring(self.queues):
                workers = BackgroundWorkers(lambda name: self.build_workers([name])[0], served, pause)
            try:
                async with self.watching():
                    yield workers
            finally:
                await workers.stop()


def build_workers(
    config: SaqueductConfig,
    queues: Queues,
    registry: TaskRegistry,
    injector: Injector | None,
    names: Sequence[str],
    metadata: Mapping[str, Any] | None = None,
    observers: "Sequence[Observer]" = (),
) -> list[EngineWorker]:
    """One worker per queue; every worker knows every task, so that a job runs on any queue.

    Args:
        config: concurrency, hooks, periods.
        queues: the queues that include those to serve.
        registry: the tasks; a schedule belongs to the queue of its task.
        injector: tasks are injected from it; None: nothing is.
        names: of the queues to serve.
        metadata: what the workers report about themselves.
        observers: what reports each attempt.

    Raises:
        ConfigurationError: no such queue; or a task has a parameter that is neither JSON nor injected.
    """
    tasks = registry.get_all_tasks()
    check_dependencies(injector, tasks)
    return [
        EngineWorker(
            queues.get(name),
            [task.runner for task in tasks],
            concurrency=config.concurrency,
            scheduled=[task for task in tasks if task.queue_name == name],
            deploy_window=config.deploy_window,
            version=config.version,
            cron_tz=ZoneInfo(config.cron_timezone),
            startup=[give_injector(injector), give_queue, *config.startup],
            shutdown=list(config.shutdown),
            before_process=[bind_log_context, *(each.before() for each in observers), *config.before_process],
            after_process=[*config.after_process, *(each.after() for each in reversed(observers)), clear_log_context],
            shutdown_grace_period_s=config.grace_period,
            cancellation_hard_deadline_s=config.cancellation_timeout,
            metadata=dict(metadata or {}),
            outage_limit=config.outage_limit,
            record_logs=config.record_logs and config.has_database,
        )
        for name in names
    ]


def check_queue_names(registry: TaskRegistry, names: Iterable[str]) -> None:
    """Raise when a task's queue is not one of `names`.

    Raises:
        ConfigurationError: names each such task.
    """
    known = tuple(names)
    strays = [task for task in registry.get_all_tasks() if task.queue_name not in known]
    if strays:
        listed = "\n  ".join(f"{task.where}: {task.name}: queue={task.queue_name!r}" for task in strays)
        raise ConfigurationError(
            f"these tasks name a queue that is not configured (queues: {', '.join(known)}; QUEUE_NAMES):\n  {listed}"
        )


def check_durable(registry: TaskRegistry, config: SaqueductConfig) -> None:
    """Raise when tasks are durable and there is no PostgreSQL to keep their jobs.

    Raises:
        ConfigurationError: names each such task.
    """
    if config.has_database:
        return
    if durable := [task for task in registry.get_all_tasks() if task.defaults.durable]:
        listed = "\n  ".join(f"{task.where}: {task.name}" for task in durable)
        raise ConfigurationError(
            f"these tasks are durable, which needs PostgreSQL; give database_url, or set DATABASE_URL:\n  {listed}"
        )


def _missing_urls(config: SaqueductConfig, registry: TaskRegistry) -> list[str]:
    """The environment variables of the servers that the application needs and the settings do not name."""
    missing = [] if config.redis_url else [REDIS_URL]
    wanted = config.records or any(task.defaults.durable for task in registry.get_all_tasks())
    return [*missing, DATABASE_URL] if wanted and not config.has_database else missing


def _queues(config: SaqueductConfig, registry: TaskRegistry) -> dict[str, EngineQueue]:
    connections = Connections(config.redis_url, config.timings)
    return {
        name: EngineQueue(
            connections.client(name),
            name,
            tasks=registry,
            max_payload_bytes=config.max_payload_bytes,
            max_recoveries=config.max_recoveries,
            batch_bytes=config.batch_bytes,
            timings=config.timings,
            sizes=config.sizes,
        )
        for name in config.queues
    }


def _with_built_in(registry: TaskRegistry, config: SaqueductConfig) -> TaskRegistry:
    # Here, as in `_store`.
    from saqueduct.postgres.built_in_tasks import WithBuiltIn

    return WithBuiltIn(registry, config.queues[0])


def _store(config: SaqueductConfig, registry: TaskRegistry) -> "PostgresStore | None":
    if not config.has_database:
        return None
    # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
    from saqueduct.postgres.building import build_store

    return build_store(config, registry)
