"""HTTP: requests a second of `POST /process`, which enqueues a job, beside the same handler on plain litestar-saq."""

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from benchmarks.contenders import BACKEND, SAQUEDUCT, STOCK, Failed
from benchmarks.throughput import Progress, Size

CONNECTIONS = 32
"""That wrk keeps open, each with one request at a time."""

WARM, SECONDS = 1, 5
"""Seconds of load before a measurement, and of one."""

STARTED = 30.0
"""Seconds that a web process gets to answer."""

PLAIN = BACKEND / "benchmarks" / "peers" / "plain_http.py"

Figures = dict[str, dict[str, list[float]]]


def http(url: str, database: str, size: Size, progress: Progress) -> Figures:
    """By contender, requests a second and p99 in milliseconds, one figure a run; one web process each, in turns.

    Raises:
        Failed: wrk is missing, or a web process does not answer 201.
    """
    if shutil.which("wrk") is None:
        raise Failed("wrk is needed: apt-get install wrk")
    figures: Figures = {}
    for _ in range(size.runs):
        for label, command in ((STOCK.label, [str(PLAIN)]), (SAQUEDUCT.label, ["-m", "app.main"])):
            progress(f"http: {label}")
            with redis.Redis.from_url(url) as client:
                client.flushall()
            with _serving(command, url, database) as address:
                _wrk(address, WARM)
                rate, slowest = _wrk(address, SECONDS)
            found = figures.setdefault(label, {"requests a second": [], "p99": []})
            found["requests a second"].append(rate)
            found["p99"].append(slowest)
    return figures


def compared(figures: Figures) -> list[tuple[str, str, str, str]]:
    """Rows for the page: what is measured, both medians, and the ratio to the plain handler's."""
    rows = []
    for name in ("requests a second", "p99"):
        plain, ours = (statistics.median(figures[label][name]) for label in (STOCK.label, SAQUEDUCT.label))
        form = ",.0f" if plain >= 100 else ".1f"
        rows.append((name, f"{plain:{form}}", f"{ours:{form}}", f"{ours / plain:.2f}"))
    return rows


@contextmanager
def _serving(command: list[str], url: str, database: str) -> Iterator[str]:
    """A web process for a block; yields the address to post to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(BACKEND),
        "REDIS_URL": url,
        "DATABASE_URL": database,
        "SECRET_KEY": "benchmarks only, no secret, but long enough",
        "WEB_PORT": str(port),
    }
    with TemporaryDirectory(prefix="saqueduct-bench-") as directory, (Path(directory) / "log").open("wb") as log:
        web = subprocess.Popen([sys.executable, *command], cwd=BACKEND, env=environment, stdout=log, stderr=log)
        address = f"http://127.0.0.1:{port}/process?user_id=7"
        try:
            _wait(address, web)
            yield address
        finally:
            web.kill()
            web.wait()


def _wait(address: str, web: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + STARTED
    while time.monotonic() < end and web.poll() is None:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method="POST")) as answer:  # noqa: S310
                if answer.status == 201:
                    return
        except urllib.error.HTTPError as error:
            raise Failed(f"{address} answers {error.code}") from None
        except OSError:
            time.sleep(0.1)
    raise Failed("the web process does not answer")


def _wrk(address: str, seconds: int) -> tuple[float, float]:
    """Load for so many seconds: requests a second, and p99 in milliseconds."""
    with TemporaryDirectory(prefix="saqueduct-bench-") as directory:
        script = Path(directory) / "post.lua"
        script.write_text('wrk.method = "POST"\n')
        load = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), address]
        shown = subprocess.run(load, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in shown:
        raise Failed(shown[-300:])
    [(value, unit)] = re.findall(r"99%\s+([\d.]+)(us|ms|s)\b", shown)
    [rate] = re.findall(r"Requests/sec:\s+([\d.]+)", shown)
    return float(rate), float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
