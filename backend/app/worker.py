"""The worker process: `python -m app.worker` runs the jobs of its queues until SIGTERM or SIGINT.

One process runs one worker per queue on one event loop. With `--processes N` a supervisor keeps N such processes
running: one that dies is started again, and a signal reaches all of them.
"""

import os
import sys
from functools import partial

import click

from app.container import build_container
from app.logs import configure_logging
from app.queue.config import build_config
from app.settings import SettingsError, load_settings
from app.tracing import tracer_provider
from saqueduct import ConfigurationError, Saqueduct
from saqueduct.serving import EXIT_MISCONFIGURED, run_worker_process, run_worker_processes

COMMAND = (sys.executable, "-m", "app.worker", "--processes", "1")
"""One of several worker processes."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--queues", help="Queues to serve, separated by commas [WORKER_QUEUES].")
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs of a queue at once [WORKER_CONCURRENCY].")
@click.option("--processes", type=click.IntRange(min=1), help="Worker processes [WORKER_PROCESSES].")
def main(queues: str | None, concurrency: int | None, processes: int | None) -> None:
    """Run jobs until SIGTERM; running ones then get WORKER_GRACE_PERIOD seconds, the others are queued again."""
    options = {"WORKER_QUEUES": queues, "WORKER_CONCURRENCY": concurrency, "WORKER_PROCESSES": processes}
    os.environ.update({name: str(value) for name, value in options.items() if value is not None})
    try:
        settings = load_settings().require_servers()
        configure_logging(settings)
        saqueduct = Saqueduct(build_config(settings, partial(build_container, settings), tracer_provider()))
        if settings.worker.processes > 1:
            sys.exit(run_worker_processes(saqueduct, settings.worker.processes, COMMAND))
        run_worker_process(saqueduct)
    except (SettingsError, ConfigurationError) as error:
        click.echo(error, err=True)
        sys.exit(EXIT_MISCONFIGURED)


if __name__ == "__main__":
    main()
