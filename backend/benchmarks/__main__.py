"""`python -m benchmarks`: measure on an embedded Redis of its own, keep the figures, and write the page."""

import datetime as dt
import json
import socket
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import report
from benchmarks.machine import describe
from benchmarks.parts import PARTS, Bench
from saqueduct.embedded.redis import EmbeddedRedis

RESULTS = Path(__file__).parent / "results.json"


@click.command()
@click.option("--quick", is_flag=True, help="One short run of each, for a first look; nothing is kept.")
@click.option(
    "--only", type=click.Choice(list(PARTS)), multiple=True, help="Some parts; of the others the last figures stay."
)
@click.option("--page", is_flag=True, help="Write the page from the figures that were kept; measure nothing.")
def main(quick: bool, only: tuple[str, ...], page: bool) -> None:
    """Measure Saqueduct against stock SAQ and other queues."""
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not page:
        with tempfile.TemporaryDirectory(prefix="saqueduct-bench-") as directory:
            port = _free_port()
            server = EmbeddedRedis(Path(directory) / "redis", port)
            try:
                server.start()
                # Not every contender knows unix sockets.
                results |= _measure(f"redis://127.0.0.1:{port}/0", quick, only or tuple(PARTS), results)
            finally:
                server.stop()
    Console().print(report.markdown(results), highlight=False, markup=False)
    if not quick:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        report.write(results)


def _measure(url: str, quick: bool, parts: tuple[str, ...], before: dict[str, Any]) -> dict[str, Any]:
    run = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "machine": describe(url)}
    results: dict[str, Any] = {"measured": before.get("measured", {}) | dict.fromkeys(parts, run)}
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), transient=True) as progress:
        line = progress.add_task("")

        def show(what: str) -> None:
            progress.update(line, description=what)

        for name, measure in PARTS.items():
            if name in parts:
                results |= measure(Bench(url, quick, show, before | results))
    return results


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
