"""`migrate`: make and upgrade the library's tables in PostgreSQL."""

import asyncio
from typing import NamedTuple

import click

from saqueduct.application import Saqueduct
from saqueduct.cli import options, output
from saqueduct.cli.connection import only_warnings
from saqueduct.cli.target import target
from saqueduct.config import SaqueductConfig
from saqueduct.postgres.migrate import current, upgrade
from saqueduct.postgres.store_engine import make_store_engine


class Revisions(NamedTuple):
    """Revision of the tables before and after an upgrade; None: there were none."""

    before: str | None
    after: str | None


@click.command()
@click.option("--revision", default="head", show_default=True, help="Upgrade to this revision.")
@options.as_json
def migrate(*, revision: str, as_json: bool) -> None:
    """Create Saqueduct's tables in PostgreSQL, or upgrade them. Two at the same time are safe: the second one waits."""
    with only_warnings():
        before, after = asyncio.run(_migrate(target().saqueduct, revision))
    if as_json:
        output.emit({"before": before, "after": after})
    elif before == after:
        output.show(f"the tables are up to date: {after}")
    else:
        output.show(f"upgraded the tables from {before} to {after}" if before else f"made the tables: {after}")


async def _migrate(saqueduct: Saqueduct, revision: str) -> Revisions:
    if saqueduct.embedded is None:
        return await _upgrade(saqueduct.config, revision)
    await asyncio.to_thread(saqueduct.embedded.start)
    try:
        return await _upgrade(saqueduct.config, revision)
    finally:
        await asyncio.to_thread(saqueduct.embedded.release)


async def _upgrade(config: SaqueductConfig, revision: str) -> Revisions:
    engine = make_store_engine(config, pool_size=1)
    try:
        before = await current(engine, config.schema)
        await upgrade(engine, config.schema, revision, lock_timeout=config.database_lock_timeout)
        return Revisions(before, await current(engine, config.schema))
    finally:
        await engine.dispose()
