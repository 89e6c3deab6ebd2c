"""`python -m benchmarks`: all measurements, on an embedded Redis of their own."""

import asyncio
import tempfile
from pathlib import Path

import click
import uvloop
from rich.console import Console

from app.dev.redis import EmbeddedRedis
from benchmarks import handles


@click.command()
@click.option("--runs", default=5, show_default=True, help="Runs of each measurement; the median is told.")
@click.option("--waits", default=100, show_default=True, help="Times that 1,000 waiters wait at once.")
def main(runs: int, waits: int) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="saqueduct-bench-") as directory:
        server = EmbeddedRedis(Path(directory) / "redis")
        try:
            table = uvloop.run(_measure(server.start(), runs, waits))
        finally:
            server.stop()
    Console().print(table)


async def _measure(url: str, runs: int, waits: int) -> object:
    return await asyncio.wait_for(handles.measure(url, runs, waits), 600)


if __name__ == "__main__":
    main()
