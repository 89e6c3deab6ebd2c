"""Timings of queues and workers, in one place.

The defaults fit together: a killed worker's job runs again within `lease` + 2 * `recovery_look` + `recovery_wait`
seconds, and `renewal` is short enough that two renewals may fail before a lease runs out.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Waits, looks and limits; all in seconds.

    Attributes:
        lease: a lease lasts, from its last renewal.
        renewal: between two renewals of a worker's leases.
        recovery_look: between two looks for expired leases.
        recovery_wait: an expired lease is looked at again before its job is recovered; at least `renewal`, so that
            living workers can renew their leases after an outage of Redis.
        second_look: between two looks for jobs that a stock worker has taken and not marked as active; it does so
            within milliseconds.
        clock_known: after which the clock of Redis is read again, where that is exact enough.
        abort_wait: an enqueue waits at most for a job in its way that is being aborted. A killed worker's job has
            ended by then; one that ignores its cancellation may not have.
        abort_look: between two looks at such a job.
        drain_look: between two looks for running jobs of a queue that is drained.
        result_patience: a caller waits for a message with a result, before it subscribes to the job's own channel.
        listener_check: without news after which the server is asked whether it still has the jobs.
        listener_pause: between two tries to listen while Redis is away.
        report_ttl: after its last report in which a worker counts as alive.
        due_look: between two looks for delayed jobs that are due, should the worker that waits for that moment have
            died. SAQ looks every second, and SAQ's own crons may need that.
        stop_call: the last call of a stopping worker may take: Redis may hang, and the worker must end all the same.
        last_write: Redis gets to take the outcomes of a worker that ends.
        timeout_check: between two looks for jobs that run longer than their timeout.
        timeout_grace: a job that is cancelled may go on, before it is given up.
        loop_first: the event loop gets to give a job up, before the heartbeat thread does.
        begin_within: a leased job must begin in: other jobs may block the event loop, while other workers wait.
        stall: one step of the event loop may take, before the jobs that wait for it are offered to other workers.
        loop_notice: the event loop is blocked for before it is logged.
        peek: one blocking command waits for a job; at most 4, as redis-py takes 5 without an answer for a lost
            connection.
        lost_lease_kept: the leases of a call that failed are looked for after the first look: a server may carry it
            out late.
        schedule_check: after which a worker looks at the ticks at the latest.
        not_consuming: a worker with free slots may take no job while jobs wait, before health reports it.
        report_stale: after its last beat a worker's state is forgotten.
        process_look: between two looks of the thread that ends a process whose event loop cannot.
        process_end: beyond the grace period a process gets to end orderly: those of `EngineWorker.stop`, and less than
            a supervisor waits.
        hopeless: after which a process ends whose event loop is blocked by a job that was given up, or by no job.
    """

    lease: float = 8.0
    renewal: float = 2.0
    recovery_look: float = 2.5
    recovery_wait: float = 2.0
    second_look: float = 2.0
    clock_known: float = 60.0
    abort_wait: float = 20.0
    abort_look: float = 0.05
    drain_look: float = 0.2
    result_patience: float = 1.0
    listener_check: float = 5.0
    listener_pause: float = 0.5
    report_ttl: int = 30
    due_look: int = 2
    stop_call: float = 2.0
    last_write: float = 3.0
    timeout_check: float = 0.1
    timeout_grace: float = 5.0
    loop_first: float = 1.0
    begin_within: float = 10.0
    stall: float = 10.0
    loop_notice: float = 2.0
    peek: float = 4.0
    lost_lease_kept: float = 15.0
    schedule_check: float = 10.0
    not_consuming: float = 15.0
    report_stale: float = 30.0
    process_look: float = 0.5
    process_end: float = 7.0
    hopeless: float = 60.0
