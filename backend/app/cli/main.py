"""The commands of the command line, and how they end: 0, 1 when something could not be done, 2 when set up wrong."""

import contextlib

import click
import msgspec

from app import __version__
from app.cli.catalogue import tasks
from app.cli.dead import dead
from app.cli.errors import Reporting
from app.cli.jobs import jobs
from app.cli.queues import queues
from app.cli.schedules import schedules
from app.cli.workers import workers
from app.logs import configure_logging
from app.settings import SettingsError, load_settings


@click.group(cls=Reporting, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="saqueduct")
def main() -> None:
    """Look after jobs, dead letters, tasks, schedules, queues and workers."""


for noun in (jobs, dead, tasks, schedules, queues, workers):
    main.add_command(noun)


def run() -> None:
    """Run the command of the command line; logs warnings to stderr."""
    # Where the settings are wrong, the command tells, unless it needs none.
    with contextlib.suppress(SettingsError):
        settings = load_settings()
        quiet = msgspec.structs.replace(settings.app, log_level="WARNING")
        configure_logging(msgspec.structs.replace(settings, app=quiet))
    main(prog_name="saqueduct")
