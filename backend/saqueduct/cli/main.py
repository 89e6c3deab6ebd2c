"""The command `saqueduct`."""

import sys

import click

from saqueduct.cli import require_rich
from saqueduct.errors import ConfigurationError

EXIT_MISCONFIGURED = 2


def run() -> None:
    """Run the command of `sys.argv`, and end the process with its status."""
    try:
        require_rich()
    except ConfigurationError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_MISCONFIGURED)
    # Here: it needs rich.
    from saqueduct.cli.groups import main

    main(prog_name="saqueduct")
