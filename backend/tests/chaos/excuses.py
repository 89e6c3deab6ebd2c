"""Excuses: which second runs a fault accounts for."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from tests.chaos.faults import BLOCKED, Window
from tests.chaos.fleet import Harm, Stop
from tests.chaos.journal import Line
from tests.chaos.tasks import block_loop

SETTLED = 3.0
"""Seconds after the end of its body in which a job's outcome is written, if nothing keeps its worker from that."""

BEGUN = 1.0
"""Seconds after Redis has lost everything in which bodies begin whose jobs were leased before."""

SUSPENSION = 10.0
"""Seconds after a failed write of a job record in which jobs commit without theirs."""

NO_TICKS = ("silence redis", "fill redis")
"""Faults during which no schedule can make a job, and which are longer than ticks are apart."""


@dataclasses.dataclass(frozen=True)
class Excuses:
    """The faults that came.

    Attributes:
        harmed: processes that were killed, or stopped past their leases.
        windows: all faults.
        gaps: begin and end, in epoch seconds, of times in which no schedule can make a job.
    """

    harmed: Sequence[Harm] = ()
    windows: Sequence[Window] = ()
    gaps: Sequence[tuple[float, float]] = ()

    @classmethod
    def of(
        cls,
        harmed: Sequence[Harm],
        windows: Sequence[Window],
        lines: Sequence[Line],
        idle: tuple[float, float],
        stopped: Sequence[Stop] = (),
    ) -> "Excuses":
        """Those of a run.

        Args:
            harmed: by the fleet. While a job blocks its event loop, a worker is harmed too, as the journal shows.
            windows: all faults.
            lines: of the journal.
            idle: the gap in which no worker lived.
            stopped: by the fleet. What a process has to write at its end has a limit: one that Redis kept from it, or
                that was ended by force, is harmed.
        """
        cut_short = [
            Harm(stop.process, stop.begun, stop.ended)
            for stop in stopped
            if stop.status or any(_keeps_from_writing(window, stop) for window in windows)
        ]
        away = [(each.epoch, each.epoch + each.seconds) for each in windows if each.fault.name in NO_TICKS]
        blocked = [
            Harm(line.process, line.time, line.time + BLOCKED + SETTLED)
            for line in lines
            if line.what == "start" and line.task == block_loop.name
        ]
        return cls([*harmed, *blocked, *cut_short], windows, [idle, *away])

    def rerun(self, run: Line, end: float | None, *, waits: bool = False) -> "Harm | Window | None":
        """The fault for which a run's job may run again; None: there is none.

        Args:
            run: its start.
            end: when its body ended; None: it did not.
            waits: another attempt was due; if Redis forgets that one, the job begins with its first again.
        """
        settled = float("inf") if end is None else self._settled_after(end)
        for harm in self.harmed:
            if harm.process == run.process and run.time <= harm.ended and harm.begun <= settled:
                return harm
        for window in self.windows:
            if window.fault.loses and run.time <= window.ended + BEGUN and (waits or window.begun <= settled):
                return window
        return None

    def harms(self, run: Line, end: float | None) -> Harm | None:
        """What harmed the process of a run before its outcome was written; None: nothing."""
        found = self.rerun(run, end)
        return found if isinstance(found, Harm) else None

    def forgotten(self, end: float) -> bool:
        """True when a job ended while PostgreSQL was away, and Redis lost that end before PostgreSQL had it."""
        return any(
            away.fault.lane == "postgres"
            and away.begun - SETTLED <= end <= away.ended
            and any(lost.fault.loses and end <= lost.ended <= away.ended + SETTLED for lost in self.windows)
            for away in self.windows
        )

    def unrecorded(self, run: Line) -> bool:
        """True when a run may have committed without its job's record, and its worker died before Redis knew."""
        away = any(
            window.fault.lane == "postgres" and window.begun - SETTLED <= run.time <= window.ended + SUSPENSION
            for window in self.windows
        )
        return away and isinstance(self.rerun(run, None), Harm)

    def in_gap(self, tick: float) -> bool:
        """True when a tick, in epoch seconds, need not have made a job."""
        return any(begun - 1 <= tick <= ended + 1 for begun, ended in self.gaps)

    def _settled_after(self, moment: float) -> float:
        """The latest time at which the outcome of a body that ended then is written: servers' faults put it off."""
        for window in sorted(self.windows, key=lambda window: window.begun):
            if window.begun - SETTLED <= moment <= window.ended:
                moment = window.ended
        return moment + SETTLED

    def counts(self) -> Counter[str]:
        """How often each fault came."""
        return Counter(window.fault.name for window in self.windows)


def _keeps_from_writing(window: Window, stop: Stop) -> bool:
    """True for a fault of Redis while a process ended."""
    return window.fault.lane == "redis" and window.begun <= stop.ended and stop.begun - SETTLED <= window.ended
