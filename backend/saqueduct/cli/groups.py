"""The groups of all commands: `saqueduct`, which is standalone and has `--app`, and `queue`, within another command
line.

The modules of the commands are imported when one of them is called: they take ten times as long as a help page. The
garbage collector is suspended meanwhile: it finds hardly anything in what imports make, and took a tenth of their time.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from saqueduct import __version__
from saqueduct.cli.later import Later
from saqueduct.cli.nouns import Reporting
from saqueduct.cli.target import FoundApplication, Target
from saqueduct.common.garbage_collection import no_collection

if TYPE_CHECKING:
    from saqueduct.application import Saqueduct


def _load(module: str, name: str) -> click.Command:
    with no_collection():
        command: click.Command = getattr(importlib.import_module(f"saqueduct.cli.{module}"), name)
    return command


def _commands(workers: Later) -> tuple[Later, ...]:
    return (
        Later("jobs", "Find, retry and abort jobs.", partial(_load, "jobs", "jobs")),
        Later("dead", "Look at dead letters, replay and discard them.", partial(_load, "dead", "dead")),
        Later("tasks", "List the tasks, and enqueue jobs of them.", partial(_load, "tasks", "tasks")),
        Later("schedules", "See, trigger, pause and resume schedules.", partial(_load, "schedules", "schedules")),
        Later("limits", "See and change the limits of tasks.", partial(_load, "limits", "limits")),
        Later("queues", "See, pause, resume and drain queues.", partial(_load, "queues", "queues")),
        workers,
        Later("audit", "See who did what by hand.", partial(_load, "audit", "audit")),
        Later(
            "migrate",
            "Create Saqueduct's tables in PostgreSQL, or upgrade them.",
            partial(_load, "migrate", "migrate"),
        ),
        Later(
            "hash-password",
            "Make the credentials of a person for ADMIN_CREDENTIALS, from a password that is asked for, or read from "
            "stdin.",
            partial(_load, "hash_password", "hash_password"),
        ),
    )


WITHIN = _commands(Later("workers", "See, pause and resume live workers.", partial(_load, "workers", "workers")))
"""Those of `queue`: in Litestar's command line it is `litestar workers run`."""

ALONE = (
    *_commands(Later("workers", "Run workers, and see the live ones.", partial(_load, "workers", "workers_alone"))),
    Later(
        "dev",
        "Run a command on embedded servers: saqueduct dev -- litestar --app example:app run.",
        partial(_load, "dev", "dev"),
    ),
)
"""Those of `saqueduct`."""


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

    def find() -> FoundApplication:
        with no_collection():
            # Here: it imports the queues.
            from saqueduct.cli.loading import load

            return load(path, directory)

    ctx.obj = Target(find)


def queue_group(find: "Callable[[], Saqueduct]") -> click.Group:
    """See `saqueduct.cli.build_queue_group`."""

    # Without parameters: Litestar passes its own to a callback that has one named `ctx` or `app`.
    @click.group(name="queue", cls=Reporting)
    def queue() -> None:
        """Look after jobs, dead letters, tasks, schedules, limits, queues and workers."""
        click.get_current_context().obj = Target(lambda: FoundApplication(find()))

    for command in WITHIN:
        queue.add_command(command)
    return queue


for _command in ALONE:
    main.add_command(_command)
