"""Groups of commands."""

from typing import Any

import click

from saqueduct.cli.reporting import reporting
from saqueduct.common.near_names import did_you_mean


class Nouns(click.Group):
    """A group that names the commands it has when it is asked for another one, and whose help shows the whole first
    sentence of each command; click cuts it to one line."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it."""
        known = self.get_command(ctx, args[0]) is not None or args[0].startswith("-")
        if not known and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {args[0]!r}: {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command.get_short_help_str(limit=1000)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Reporting(Nouns):
    """A group of commands that shows expected errors without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        with reporting():
            return super().invoke(ctx)
