"""The journal: what the bodies of jobs did, in a file that nothing under test keeps.

Each process appends to it, one line a write. Its times are those of the machine's monotonic clock, which all processes
share and libfaketime leaves alone.
"""

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from saqueduct import Context
from saqueduct.tasks.job_meta import TICK

JOURNAL = "CHAOS_JOURNAL"
"""Environment variable: the journal's path."""


class Line(NamedTuple):
    """One line of the journal.

    Attributes:
        what: "start" and "end" of a body; of unique jobs also "single N" and "single N over", of limited ones and parts
            of jobs "limited N" and "limited N over", and of paced ones "paced M", their lease's time in milliseconds.
        key: the job's.
        task: its name.
        attempt: its number, 1 for the first.
        process: the worker's.
        time: seconds of the monotonic clock.
        tick: of the schedule that made the job, in epoch seconds; None: no schedule did.
    """

    what: str
    key: str
    task: str
    attempt: int
    process: int
    time: float
    tick: float | None


def note(ctx: Context, what: str) -> None:
    """Append a line to the journal."""
    job = ctx["job"]
    line = Line(what, job.key, job.function, job.attempts, os.getpid(), time.monotonic(), job.meta.get(TICK))
    descriptor = os.open(Path(os.environ[JOURNAL]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{json.dumps(line)}\n".encode())
    finally:
        os.close(descriptor)


def read(journal: Path) -> list[Line]:
    """The journal's lines in the order of their times."""
    lines = [Line(*json.loads(line)) for line in journal.read_text().splitlines()] if journal.exists() else []
    return sorted(lines, key=lambda line: line.time)
