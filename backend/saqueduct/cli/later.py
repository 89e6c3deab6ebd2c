"""Commands that are imported when they are called: help pages and completion need only their names."""

from collections.abc import Callable
from typing import Any

import click


class Later(click.Command):
    """The place of a command in a group.

    Args:
        name: of the command.
        listed: its first sentence, as help pages list it.
        load: imports the command.
    """

    def __init__(self, name: str, listed: str, load: Callable[[], click.Command]) -> None:
        super().__init__(name, help=listed)
        self.load = load

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the command itself; click then invokes the command."""
        return self.load().make_context(info_name, args, parent, **extra)
