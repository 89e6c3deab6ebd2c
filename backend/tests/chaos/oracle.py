"""The oracle: compares what was acknowledged with what ran, and with how it ended."""

import dataclasses
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

SPENT = "recoveries spent"
"""In place of the status of a job that failed because its workers died more often than MAX_RECOVERIES: as promised."""

TERMINAL = {"complete", "failed", "aborted", SPENT}
TICK = 5.0
"""Seconds between two ticks of the schedule of a run."""


class Line(NamedTuple):
    """A line of the journal; see `worker.py`."""

    what: str
    key: str
    attempt: int
    process: int
    time: float
    tick: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a run has shown. The first six must be 0."""

    lost: int
    """Acknowledged jobs that have not come to an end."""
    not_complete: int
    """Acknowledged jobs that have ended otherwise than complete."""
    ended_twice: int
    """Jobs whose end Redis announced more than once."""
    ticks_missed: int
    ticks_doubled: int
    beside_each_other: int
    """Unique jobs of a number that ran at once, though no worker had been killed or stopped meanwhile."""
    acknowledged: int
    recoveries_spent: int
    """Jobs whose workers were killed more often than a job is recovered: they end failed."""
    runs: int
    run_twice: int
    """Runs beyond the attempts that a job was due."""
    kills: int
    ticks: int
    recovered: int
    """Jobs that ran when their worker was killed or stopped, and ran again elsewhere."""
    recovery_median: float
    """Seconds from the kill to the start elsewhere."""
    recovery_longest: float

    @property
    def faults(self) -> list[str]:
        """The names of those that should be 0 and are not."""
        zeros = ("lost", "not_complete", "ended_twice", "ticks_missed", "ticks_doubled", "beside_each_other")
        return [name for name in zeros if getattr(self, name)]


def read(journal: Path) -> list[Line]:
    """The journal's lines in the order of their times."""
    lines = [Line(*json.loads(line)) for line in journal.read_text().splitlines()] if journal.exists() else []
    return sorted(lines, key=lambda line: line.time)


def judge(
    lines: Iterable[Line],
    statuses: Mapping[str, str],
    ends: Mapping[str, int],
    killed: Iterable[tuple[int, float]],
    attempts_due: Mapping[str, int],
) -> Verdict:
    """Judge a run.

    Args:
        lines: of the journal.
        statuses: of each acknowledged job at the end of the run; empty where Redis has none.
        ends: how often Redis announced that a job had ended, by key.
        killed: process and time of each kill.
        attempts_due: attempts that a job was to have, where it is more than one.
    """
    lines, killed = list(lines), list(killed)
    starts: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.what == "start":
            starts[line.key].append(line)
    ticks = {line.tick for line in lines if line.tick is not None}
    jobs_of_ticks = Counter(tick for tick, _ in {(line.tick, line.key) for line in lines if line.tick is not None})
    span = range(int(min(ticks, default=0) / TICK), int(max(ticks, default=0) / TICK) + 1) if ticks else range(0)
    recoveries = _recoveries(lines, starts, killed)
    return Verdict(
        lost=sum(status not in TERMINAL for status in statuses.values()),
        not_complete=sum(status in TERMINAL - {"complete", SPENT} for status in statuses.values()),
        ended_twice=sum(count > 1 for count in ends.values()),
        ticks_missed=sum(turn * TICK not in ticks for turn in span),
        ticks_doubled=sum(count > 1 for count in jobs_of_ticks.values()),
        beside_each_other=_beside_each_other(lines, killed),
        acknowledged=len(statuses),
        recoveries_spent=sum(status == SPENT for status in statuses.values()),
        runs=sum(map(len, starts.values())),
        run_twice=sum(max(0, len(each) - attempts_due.get(key, 1)) for key, each in starts.items()),
        kills=len(killed),
        ticks=len(ticks),
        recovered=len(recoveries),
        recovery_median=round(statistics.median(recoveries), 1) if recoveries else 0.0,
        recovery_longest=round(max(recoveries), 1) if recoveries else 0.0,
    )


def _recoveries(lines: list[Line], starts: Mapping[str, list[Line]], killed: list[tuple[int, float]]) -> list[float]:
    """Seconds from each kill to the next start of each job that ran then, in another process."""
    over = {(line.key, line.process, line.attempt): line.time for line in lines if line.what == "end"}
    found = []
    for process, moment in killed:
        for each in starts.values():
            for run in each:
                ended = over.get((run.key, run.process, run.attempt), float("inf"))
                if run.process == process and run.time <= moment < ended:
                    later = [again.time for again in each if again.time > moment and again.process != process]
                    found += [min(later) - moment] if later else []
    return found


def _beside_each_other(lines: list[Line], killed: list[tuple[int, float]]) -> int:
    """Unique jobs that started while another of their number ran, in a process that nothing was done to."""
    harmed = {process for process, _ in killed}
    running: dict[str, Line] = {}
    found = 0
    for line in lines:
        if not line.what.startswith("single"):
            continue
        name = line.what.removesuffix(" over")
        before = running.pop(name, None)
        if line.what == name:
            found += before is not None and before.process not in harmed and before.key != line.key
            running[name] = line
    return found
