"""The oracle: judges a run by its evidence. Each question names what must not be, and answers with the cases found."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.chaos.announcements import TERMINAL
from tests.chaos.evidence import SPENT, Evidence
from tests.chaos.faults import Window
from tests.chaos.fleet import Harm
from tests.chaos.journal import Line
from tests.chaos.tasks import DOOMED, PACE, TICK, TOGETHER, WITH_SESSION, once

MAX_RECOVERIES = 3
"""Times that a job is recovered, as the guarantees say."""

TRANSACTING = 10_000_000
"""Numbers from here on are those of producers that were killed."""

Question = Callable[[Evidence], Iterator[str]]

QUESTIONS: dict[str, Question] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What a run has shown.

    Attributes:
        cases: of each question, by its name; all should be empty.
        figures: what else is worth knowing.
    """

    cases: Mapping[str, list[str]]
    figures: Mapping[str, Any]

    @property
    def faults(self) -> dict[str, list[str]]:
        """The questions that have cases, and some of these."""
        return {name: cases[:5] for name, cases in self.cases.items() if cases}


def judge(evidence: Evidence, figures: Mapping[str, Any] | None = None) -> Verdict:
    """Ask all questions."""
    return Verdict({name: sorted(set(ask(evidence))) for name, ask in QUESTIONS.items()}, figures or {})


def question(function: Question) -> Question:
    """Register a question by its function's name."""
    QUESTIONS[function.__name__.replace("_", " ")] = function
    return function


@question
def lost(evidence: Evidence) -> Iterator[str]:
    """Acknowledged jobs, and jobs of committed transactions, that have not ended."""
    yield from (_case(evidence, key) for key in evidence.acknowledged if not evidence.status(key))
    for number in evidence.committed - evidence.runs.keys():
        # One that ended otherwise than complete did not write its number; another question asks for it.
        if not evidence.status(evidence.key_of.get(number, "")):
            yield f"transaction {number}"


@question
def innocents_failed(evidence: Evidence) -> Iterator[str]:
    """Jobs that ended otherwise than complete, and are not themselves the cause."""
    failed: list[str] = []
    taken: list[str] = []
    for key in evidence.tasks.keys() | evidence.ends.keys() | evidence.record_of.keys():
        ended_badly = evidence.status(key) in TERMINAL - {"complete"}
        if ended_badly and evidence.innocent(key) and evidence.task(key) not in DOOMED and not _promised(evidence, key):
            (taken if _taken_at_most_once(evidence, key) else failed).append(key)
    # A kill meets a worker between the lease and the body now and then, with one job, seldom with more.
    for key in [*failed, *sorted(taken)[len(evidence.excuses.harmed) :]]:
        yield f"{_case(evidence, key)}: {evidence.error(key)}"


@question
def innocents_charged(evidence: Evidence) -> Iterator[str]:
    """Jobs that began an attempt beyond those that they have used up themselves."""
    for key, starts in evidence.starts.items():
        due = evidence.failures_due.get(key, 0) + 1
        if evidence.innocent(key) and any(start.attempt > due for start in starts):
            yield f"{_case(evidence, key)}: attempt {max(start.attempt for start in starts)}"


@question
def bodies_ended_twice(evidence: Evidence) -> Iterator[str]:
    """Jobs whose body ended more often than was due, though no fault accounts for it."""
    for key, runs in _repeated(evidence):
        due = evidence.failures_due.get(key, 0) + 1
        excused = sum(evidence.excuses.rerun(start, end, waits=due > 1) is not None for start, end in runs[:-1])
        if len(runs) - due > excused:
            yield f"{_case(evidence, key)}: processes {[start.process for start, _ in runs]}"


@question
def bodies_ended_twice_beyond_slots(evidence: Evidence) -> Iterator[str]:
    """Faults after which more bodies ended again than the workers that were hit have slots."""
    again: Counter[Harm | Window] = Counter()
    for key, runs in _repeated(evidence):
        if key not in evidence.failures_due:
            counted = [(start, end) for start, end in runs[:-1] if not evidence.excuses.forgotten(end)]
            again.update(fault for start, end in counted if (fault := evidence.excuses.rerun(start, end)) is not None)
    for fault, bodies in again.items():
        hit, name = (1, f"process {fault.process}") if isinstance(fault, Harm) else (evidence.workers, fault.fault.name)
        if bodies > hit * evidence.slots:
            yield f"{name}: {bodies} bodies"


@question
def ran_twice_though_at_most_once(evidence: Evidence) -> Iterator[str]:
    """Jobs declared `at_most_once` whose body began again."""
    for key, starts in evidence.starts.items():
        if starts[0].task == once.name and len(starts) > 1:
            yield _case(evidence, key)


@question
def ran_after_their_end(evidence: Evidence) -> Iterator[str]:
    """Jobs that began after their end had been announced."""
    for key, ends in evidence.ends.items():
        for start in evidence.starts.get(key, ()):
            excused = evidence.excuses.forgotten(ends[0].time) or evidence.excuses.harms(start, start.time)
            if start.time > ends[0].time and not excused:
                yield f"{_case(evidence, key)}: {start.time - ends[0].time:.2f} s after it"


@question
def ends_announced_twice(evidence: Evidence) -> Iterator[str]:
    """Jobs whose end was written more than once, though neither Redis nor PostgreSQL lost the first."""
    for key, ends in evidence.ends.items():
        if any(not evidence.excuses.forgotten(end.time) for end in ends[:-1]):
            yield f"{_case(evidence, key)}: {[end.status for end in ends]}"


@question
def dead_letters_lost(evidence: Evidence) -> Iterator[str]:
    """Jobs that failed for good, and have no record that says so."""
    failed = {key for key, job in evidence.stored.items() if job.status == "failed"}
    failed |= {key for key, ends in evidence.ends.items() if ends[-1].status == "failed"}
    for key in failed:
        record = evidence.record_of.get(key)
        if record is None or record.status != "failed":
            yield f"{_case(evidence, key)}: {record.status if record else 'no record'}"


@question
def records_stale(evidence: Evidence) -> Iterator[str]:
    """Records that say a job waits, though all have ended."""
    yield from (_case(evidence, record.key) for record in evidence.records if record.status == "queued")


@question
def records_doubled(evidence: Evidence) -> Iterator[str]:
    """Jobs with more records than one."""
    counts = Counter(record.key for record in evidence.records)
    yield from (_case(evidence, key) for key, count in counts.items() if count > 1)


@question
def contradictions(evidence: Evidence) -> Iterator[str]:
    """Jobs of which Redis, its announcements and PostgreSQL have different outcomes."""
    for key in evidence.stored.keys() | evidence.ends.keys():
        reported = {end.status for end in evidence.ends.get(key, ())}
        reported |= {evidence.stored[key].status} if key in evidence.stored else set()
        reported |= {evidence.record_of[key].status} if key in evidence.record_of else set()
        if len(reported & TERMINAL) > 1:
            yield f"{_case(evidence, key)}: {', '.join(sorted(reported))}"


@question
def committed_twice(evidence: Evidence) -> Iterator[str]:
    """Numbers that jobs wrote with their sessions more than once, though their records could be written with them."""
    for number, count in evidence.runs.items():
        key = evidence.key_of.get(number, "")
        excused = sum(evidence.excuses.unrecorded(start) for start in evidence.starts.get(key, ())[:-1])
        if count > 1 + excused:
            yield f"{_case(evidence, key)}: number {number}, {count} times"


@question
def complete_and_not_committed(evidence: Evidence) -> Iterator[str]:
    """Complete jobs whose session's work is not there."""
    for key, number in evidence.numbers.items():
        if evidence.status(key) == "complete" and not evidence.runs[number]:
            yield _case(evidence, key)


@question
def phantoms(evidence: Evidence) -> Iterator[str]:
    """Jobs that ran although their transaction did not commit."""
    yield from (str(number) for number in evidence.runs.keys() - evidence.committed if number >= TRANSACTING)


@question
def beside_each_other(evidence: Evidence) -> Iterator[str]:
    """Unique jobs that began while another of their number ran, in a process that nothing was done to meanwhile."""
    running: dict[str, Line] = {}
    for line in evidence.lines:
        if line.what.startswith("single"):
            name = line.what.removesuffix(" over")
            before = running.pop(name, None)
            if line.what == name:
                beside = before if before is not None and before.key != line.key else None
                if beside is not None and evidence.excuses.harms(beside, line.time) is None:
                    yield f"{name}: {beside.key}, {line.key}"
                running[name] = line


@question
def over_admission(evidence: Evidence) -> Iterator[str]:
    """Bodies that began beyond a limit: more at once than it admits, or more leases in its seconds."""
    running: dict[str, dict[str, Line]] = defaultdict(dict)
    for line in evidence.lines:
        if line.what.startswith("limited"):
            name = line.what.removesuffix(" over")
            running[name].pop(line.key, None)
            if line.what == name:
                beside = [each for each in running[name].values() if evidence.excuses.rerun(each, line.time) is None]
                if len(beside) >= TOGETHER:
                    yield f"{name}: {line.key} beside {', '.join(each.key for each in beside)}"
                running[name][line.key] = line
    if any(window.fault.loses for window in evidence.excuses.windows):
        return
    leases = sorted(int(line.what.split()[1]) for line in evidence.lines if line.what.startswith("paced"))
    most = PACE.limit + PACE.burst
    for first, beyond in zip(leases, leases[most:], strict=False):
        if beyond - first < PACE.per * 1000:
            yield f"paced: more than {most} leases in {beyond - first} ms from {first} on"


@question
def ticks_missed(evidence: Evidence) -> Iterator[str]:
    """Ticks of a schedule, between its first and its last, that made no job."""
    for task, jobs in _ticks(evidence).items():
        first, last = int(min(jobs) / TICK), int(max(jobs) / TICK)
        missed = {number * TICK for number in range(first, last + 1)} - jobs.keys()
        yield from (f"{task} at {tick}" for tick in missed if not evidence.excuses.in_gap(tick))


@question
def ticks_doubled(evidence: Evidence) -> Iterator[str]:
    """Ticks of a schedule that made more jobs than one."""
    for task, jobs in _ticks(evidence).items():
        yield from (f"{task} at {tick}" for tick, keys in jobs.items() if len(keys) > 1)


@question
def stalled(evidence: Evidence) -> Iterator[str]:
    """What the workers had not done long after the last fault, before all of them were replaced."""
    yield from (f"{name}: {count}" for name, count in evidence.stalled.items() if count)


@question
def left(evidence: Evidence) -> Iterator[str]:
    """What should be empty at the end, and is not."""
    yield from (f"{name}: {count}" for name, count in evidence.left.items() if count)


@question
def stops_late(evidence: Evidence) -> Iterator[str]:
    """Workers that did not end after SIGTERM."""
    yield from evidence.stops_late


def _case(evidence: Evidence, key: str) -> str:
    return f"{evidence.task(key) or 'unknown'} {key}"


def _promised(evidence: Evidence, key: str) -> bool:
    """True for a failure that the guarantees announce: recovered too often, or at most once and its worker died."""
    if evidence.task(key) == once.name:
        return any(evidence.excuses.harms(start, end) is not None for start, end in runs_of(evidence, key))
    return evidence.spent(key) and len(evidence.starts.get(key, ())) > MAX_RECOVERIES


def _taken_at_most_once(evidence: Evidence, key: str) -> bool:
    """True for a job that runs at most once and whose worker died when it had taken it and the body had not begun."""
    return evidence.task(key) == once.name and key not in evidence.starts and evidence.error(key).startswith(SPENT)


def runs_of(evidence: Evidence, key: str) -> list[tuple[Line, float | None]]:
    """The starts of a job's body, each with the time of its end; None: it was cancelled, or its process died."""
    ends = list(evidence.finishes.get(key, ()))
    runs: list[tuple[Line, float | None]] = []
    for start in evidence.starts.get(key, ()):
        end = next((end for end in ends if end.process == start.process and end.time >= start.time), None)
        if end is not None:
            ends.remove(end)
        runs.append((start, None if end is None else end.time))
    return runs


def _repeated(evidence: Evidence) -> Iterator[tuple[str, list[tuple[Line, float]]]]:
    """Innocent jobs whose body ended more than once, with those runs; what sessions write is asked for elsewhere."""
    for key, ends in evidence.finishes.items():
        if len(ends) > 1 and evidence.innocent(key) and evidence.task(key) not in WITH_SESSION:
            yield key, [(start, end) for start, end in runs_of(evidence, key) if end is not None]


def _ticks(evidence: Evidence) -> dict[str, dict[float, set[str]]]:
    """The jobs of each tick of each schedule; none where Redis has lost its schedules meanwhile."""
    found: dict[str, dict[float, set[str]]] = defaultdict(lambda: defaultdict(set))
    if not any(window.fault.loses for window in evidence.excuses.windows):
        for line in evidence.lines:
            if line.tick is not None:
                found[line.task][line.tick].add(line.key)
    return found
