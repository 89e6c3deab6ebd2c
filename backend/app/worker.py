"""The worker process: `python -m app.worker` runs the jobs of its queues until SIGTERM or SIGINT.

One process runs one worker a queue on one event loop. With `--processes N` a supervisor keeps N such processes
running: one that dies is started again, and a signal reaches all of them.
"""

import logging
import os
import sys
from functools import partial

import click
import uvloop

from app.container import build_container
from app.logs import configure_logging
from app.queue.config import build_config
from app.settings import Settings, SettingsError, load_settings
from saqueduct import ConfigurationError, Saqueduct
from saqueduct.worker.process import WorkerProcess, run
from saqueduct.worker.supervisor import supervise

logger = logging.getLogger("app.worker")

EXIT_MISCONFIGURED = 2
"""Exit status of a process that cannot run as it is set up; starting it again would not help."""


async def serve(settings: Settings) -> None:
    """Run the workers of this process until a signal, then end the process.

    Its status is 0, or EXIT_USELESS when jobs have left so little of it that it should be started afresh.

    Raises:
        ConfigurationError: the tasks do not fit the settings or the container.
    """
    threads = settings.worker.concurrency * len(settings.worker_queues)
    process = WorkerProcess(settings.worker.grace_period, threads)
    saqueduct = Saqueduct(build_config(settings, partial(build_container, settings)))
    try:
        workers = saqueduct.build_workers()
        await saqueduct.connect()
        logger.info("worker started: queues %s", ", ".join(settings.worker_queues))
        await process.run(workers)
    finally:
        await saqueduct.disconnect()
    logger.info("worker stopped")
    # Jobs that are still in a thread have been handed back.
    process.exit()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--queues", help="Queues to serve, separated by commas [WORKER_QUEUES].")
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs of a queue at once [WORKER_CONCURRENCY].")
@click.option("--processes", type=click.IntRange(min=1), help="Worker processes [WORKER_PROCESSES].")
def main(queues: str | None, concurrency: int | None, processes: int | None) -> None:
    """Run jobs until SIGTERM; running ones then get WORKER_GRACE_PERIOD seconds, the rest is queued again."""
    options = {"WORKER_QUEUES": queues, "WORKER_CONCURRENCY": concurrency, "WORKER_PROCESSES": processes}
    os.environ.update({name: str(value) for name, value in options.items() if value is not None})
    try:
        settings = load_settings().require_servers()
        configure_logging(settings)
        if settings.worker.processes > 1:
            sys.exit(supervise(settings.worker.processes, settings.worker.grace_period, EXIT_MISCONFIGURED))
        run(serve(settings), uvloop.new_event_loop)
    except (SettingsError, ConfigurationError) as error:
        click.echo(error, err=True)
        sys.exit(EXIT_MISCONFIGURED)


if __name__ == "__main__":
    main()
