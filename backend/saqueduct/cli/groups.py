"""The groups of all commands: `saqueduct`, which is standalone and has `--app`, and `queue`, within another command
line."""

from collections.abc import Callable

import click

from saqueduct import __version__
from saqueduct.application import Saqueduct
from saqueduct.cli.audit import audit
from saqueduct.cli.connection import FoundApplication, Target
from saqueduct.cli.dead import dead
from saqueduct.cli.dev import dev
from saqueduct.cli.errors import Nouns, Reporting
from saqueduct.cli.hash_password import hash_password
from saqueduct.cli.jobs import jobs
from saqueduct.cli.limits import limits
from saqueduct.cli.loading import load
from saqueduct.cli.migrate import migrate
from saqueduct.cli.queues import queues
from saqueduct.cli.schedules import schedules
from saqueduct.cli.tasks import tasks
from saqueduct.cli.workers import run_alone, workers

COMMANDS: tuple[click.Command, ...] = (
    *(jobs, dead, tasks, schedules, limits, queues),
    *(workers, audit, migrate, hash_password),
)


@click.group(cls=Reporting, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--app",
    "path",
    metavar="MODULE:NAME",
    envvar=["SAQUEDUCT_APP", "LITESTAR_APP"],
    show_envvar=True,
    help="The application: a Litestar application with SaqueductPlugin, a Saqueduct, a SaqueductConfig, or a function "
    "that returns one of these.",
)
@click.option(
    "--app-dir",
    "directory",
    type=click.Path(exists=True, file_okay=False),
    help="Folder that holds the module; the current one by default.",
)
@click.version_option(__version__, prog_name="saqueduct")
@click.pass_context
def main(ctx: click.Context, path: str | None, directory: str | None) -> None:
    """Look after jobs, dead letters, tasks, schedules, limits, queues and workers."""
    ctx.obj = Target(lambda: load(path, directory))


def queue_group(find: Callable[[], Saqueduct]) -> click.Group:
    """See `saqueduct.cli.build_queue_group`."""

    # Without parameters: Litestar passes its own to a callback that has one named `ctx` or `app`.
    @click.group(name="queue", cls=Reporting)
    def queue() -> None:
        """Look after jobs, dead letters, tasks, schedules, limits, queues and workers."""
        click.get_current_context().obj = Target(lambda: FoundApplication(find()))

    for command in COMMANDS:
        queue.add_command(command)
    return queue


for _command in (*COMMANDS, dev):
    main.add_command(_command)
# In Litestar's command line it is `litestar workers run`.
main.add_command(Nouns("workers", {**workers.commands, "run": run_alone}, help="Run workers, and see the live ones."))
