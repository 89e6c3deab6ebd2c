"""The command line: `litestar --app example:app queue jobs list`, or standalone `saqueduct --app example:app jobs
list`.

Importing this package loads click only; the commands are loaded with the first group that is built.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

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
    return _QueueGroup(find)


class _QueueGroup(click.Command):
    """Loads the group when it is called: `litestar run` builds it, too, and the commands are slow to import."""

    def __init__(self, find: "Callable[[], Saqueduct]") -> None:
        super().__init__("queue", help="Look after jobs, dead letters, tasks, schedules, limits, queues and workers.")
        self._find = find

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the group itself; click then invokes the group.

        Raises:
            ConfigurationError: rich is not installed.
        """
        require_rich()
        # Here: web processes and workers need no commands.
        from saqueduct.cli.groups import queue_group

        return queue_group(self._find).make_context(info_name, args, parent, **extra)


def require_rich() -> None:
    """Raise when the package that the commands print with is missing.

    Raises:
        ConfigurationError: names what to install.
    """
    try:
        import rich  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigurationError("the command line needs the package rich: pip install saqueduct[cli]") from None
