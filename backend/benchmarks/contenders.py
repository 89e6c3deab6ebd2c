"""The contenders: which script measures each, in which environment, in which configuration."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

BACKEND = Path(__file__).resolve().parents[1]
ENVIRONMENTS = BACKEND.parent / ".dev" / "bench"
"""Where the environments of the peers are kept."""

LONGEST_RUN = 180.0
"""Seconds that one measurement may take."""


class Failed(Exception):
    """A contender could not be measured; the message is the end of what it printed."""


@dataclass(frozen=True)
class Contender:
    """One queue under measurement.

    Attributes:
        name: of its script in `peers`, and of its requirements `requirements/bench-<name>.txt`, if it has any.
        label: as the tables show it.
        configuration: in words, what was chosen.
    """

    name: str
    label: str
    configuration: str

    @property
    def requirements(self) -> Path:
        """Pinned and hashed; a contender without the file runs in the project's own environment."""
        return BACKEND / "requirements" / f"bench-{self.name}.txt"

    @cached_property
    def python(self) -> Path:
        """The interpreter of its environment, which is made when it is not there, or older than its requirements.

        Raises:
            Failed: pip cannot install them.
        """
        if not self.requirements.exists():
            return Path(sys.executable)
        directory = ENVIRONMENTS / self.name
        python, stamp = directory / "bin" / "python", directory / "installed"
        if not stamp.exists() or stamp.stat().st_mtime < self.requirements.stat().st_mtime:
            venv.create(directory, clear=True, with_pip=True)
            pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            answer = subprocess.run(
                [*pip, "--require-hashes", "-r", str(self.requirements)], capture_output=True, text=True, check=False
            )
            if answer.returncode:
                raise Failed(answer.stderr[-500:])
            stamp.touch()
        return python

    def start(self, measure: str, url: str, count: int, **options: object) -> subprocess.Popen[str]:
        """Its script, running."""
        script = BACKEND / "benchmarks" / "peers" / f"{self.name}.py"
        given = [f"{name}={value}" for name, value in options.items()]
        return subprocess.Popen(
            [str(self.python), str(script), measure, url, str(count), *given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=BACKEND,
            env={**os.environ, "PYTHONPATH": str(BACKEND)} if self.python == Path(sys.executable) else None,
        )

    def ask(self, measure: str, url: str, count: int, **options: object) -> dict[str, Any]:
        """Run its script to the end; returns the figures that it prints.

        Raises:
            Failed: it printed none.
        """
        return figures_of(self.start(measure, url, count, **options))

    @contextmanager
    def serving(self, url: str, **options: object) -> Iterator[subprocess.Popen[str]]:
        """A worker of it, for a block."""
        process = self.start("serve", url, 0, **options)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def figures_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The figures that a script prints at its end.

    Raises:
        Failed: it printed none, or took too long.
    """
    try:
        output, errors = process.communicate(timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"no figures within {LONGEST_RUN:.0f} s") from None
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise Failed((errors or output)[-500:])
    return dict(json.loads(lines[-1]))


SAQUEDUCT = Contender(
    "this_library", "Saqueduct", "the application's worker: validation, injection, leases, hooks, logging"
)
STOCK = Contender("stock_saq", "SAQ", "uvloop, hiredis; the best of 10, 32 and 100 slots")

PEERS = (
    Contender("peer_arq", "arq", "max_jobs=100, poll_delay=0.01, uvloop"),
    Contender("peer_taskiq", "taskiq", "Redis streams, uvloop, 100 async tasks, no result kept"),
    Contender("peer_streaq", "streaq", "concurrency=100, uvloop"),
    Contender("peer_celery", "celery", "solo pool, prefetch 64, results ignored"),
    Contender("peer_dramatiq", "dramatiq", "8 threads, no results"),
    Contender("peer_rq", "rq", "SimpleWorker, results kept 0 s"),
    Contender("peer_huey", "huey", "8 threads, no results"),
    Contender("peer_docket", "docket", "concurrency=100, uvloop"),
    Contender("peer_litestar_queues", "litestar-queues", "Redis backend, uvloop, 100 at once"),
)
"""Those that users choose between, each in its best documented configuration."""
