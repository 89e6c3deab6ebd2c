"""`python -m app.dev.demo`, on the servers of REDIS_URL and DATABASE_URL; `make demo` calls it."""

import asyncio
import sys

import click

from app.dev.demo import filling, present
from app.dev.demo.past import PREFIX, TAG
from app.queue.config import build_config
from app.settings import SettingsError, load_settings
from saqueduct import ConfigurationError, QueueUnavailable, Saqueduct
from saqueduct.postgres.outage import outage_in

EXIT_AWAY, EXIT_MISCONFIGURED = 1, 2


@click.command()
@click.option("--seed", type=int, required=True)
@click.option("--remove", is_flag=True)
def main(seed: int, remove: bool) -> None:
    """Fill the servers, or take away what was filled in."""
    try:
        settings = load_settings().require_servers()
        saqueduct = Saqueduct(build_config(settings))
        asyncio.run(_removed(saqueduct) if remove else _filled(saqueduct, seed))
    except (SettingsError, ConfigurationError, QueueUnavailable) as error:
        click.echo(error, err=True)
        sys.exit(EXIT_MISCONFIGURED)
    except Exception as error:
        if not (outage := outage_in(error)):
            raise
        click.echo(f"PostgreSQL went away: {outage}\nrun it again: it first takes away what was filled in", err=True)
        sys.exit(EXIT_AWAY)


async def _filled(saqueduct: Saqueduct, seed: int) -> None:
    async with saqueduct:
        filled = await filling.fill(saqueduct, seed)
        jobs = await present.enqueue(saqueduct)
    click.echo(
        f"added {filled.records:,} job records of the last day, {filled.failed} of them dead letters, and "
        f"{filled.history:,} entries of history of the last week\nenqueued {jobs} jobs: some run now, some wait\n"
        f"all have the tag {TAG!r} and keys that begin with {PREFIX!r}; `make demo ARGS=--remove` takes them away"
    )


async def _removed(saqueduct: Saqueduct) -> None:
    async with saqueduct:
        aborted = await present.abort(saqueduct)
    # Their records are written by now: disconnecting waits for that.
    async with saqueduct:
        removed = await filling.remove(saqueduct)
    click.echo(
        f"aborted {aborted} jobs that waited, and removed {removed.records:,} job records and {removed.history:,} "
        "entries of history"
    )


if __name__ == "__main__":
    main()
