"""The command line: `litestar --app example:app queue jobs list`, or standalone `saqueduct --app example:app jobs
list`.

Importing this package loads click only; the commands are loaded with the first group that is built.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from saqueduct.cli.later import Later
from saqueduct.errors import ConfigurationError

if TYPE_CHECKING:
    from saqueduct.application import Saqueduct


def build_queue_group(find: "Callable[[], Saqueduct]") -> click.Command:
    """The group `queue`, to be added to another command line; it loads its commands when it is called.

        cli.add_command(build_queue_group(lambda: self.saqueduct))

    Args:
        find: returns the application; called when a command needs it, never for a help page. It is connected while the
            command runs.
    """

    def load() -> click.Command:
        require_rich()
        # Here: web processes and workers need no commands.
        from saqueduct.cli.groups import queue_group

        return queue_group(find)

    return Later("queue", "Look after jobs, dead letters, tasks, schedules, limits, queues and workers.", load)


def require_rich() -> None:
    """Raise when the package that the commands print with is missing.

    Raises:
        ConfigurationError: names what to install.
    """
    try:
        import rich  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigurationError("the command line needs the package rich: pip install saqueduct[cli]") from None
