"""What else a run shows: how much was done, and how quickly jobs ran again after their worker died."""

import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.oracle import runs_of


def figures(evidence: Evidence) -> dict[str, Any]:
    """Figures of a run, by name."""
    keys = list(evidence.acknowledged)
    again = [seconds for key in evidence.starts for seconds in _recoveries(evidence, key)]
    return {
        "jobs acknowledged": len(keys),
        "ended": dict(Counter(evidence.status(key) or "not" for key in keys)),
        "dead letters": sum(record.status == "failed" for record in evidence.records),
        "recoveries spent": sum(evidence.spent(key) for key in evidence.tasks),
        "bodies begun": sum(map(len, evidence.starts.values())),
        "bodies begun beyond those due": sum(
            max(0, len(starts) - evidence.failures_due.get(key, 0) - 1) for key, starts in evidence.starts.items()
        ),
        "ticks": len({(line.task, line.tick) for line in evidence.lines if line.tick is not None}),
        "workers killed, stopped or blocked": len(evidence.excuses.harmed),
        "ran again after a kill": len(again),
        "... median": f"{statistics.median(again):.1f} s" if again else "",
        "... at the latest": f"{max(again):.1f} s" if again else "",
    }


def _recoveries(evidence: Evidence, key: str) -> Iterator[float]:
    """Seconds from the kill of a run's process to the job's next start in another one."""
    for start, end in runs_of(evidence, key):
        harm = evidence.excuses.harms(start, end)
        if harm is not None and harm.killed and (end is None or end > harm.begun):
            later = [
                line.time for line in evidence.starts[key] if line.time > harm.begun and line.process != start.process
            ]
            yield from [min(later) - harm.begun] if later else []
