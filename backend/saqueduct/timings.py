"""Timings of queues, workers, the store in PostgreSQL and the console, in one place.

The defaults fit together: a killed worker's job runs again within `lease` + 2 * `recovery_look` + `recovery_wait`
seconds, and `renewal` is short enough that two renewals may fail before a lease runs out.
"""

import dataclasses

from saqueduct.common.near_names import NamedFields


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTimings(NamedFields):
    """Intervals, waits and limits of the store in PostgreSQL; all in seconds.

    Attributes:
        transaction: maximum duration of a transaction; after that PostgreSQL counts as unavailable.
        flush: time that each part of the store has to write what waits when a process ends.
        publish_grace: time that the process which committed a job has to enqueue it itself.
        outbox_check: maximum interval between checks of the outbox when no commit is reported.
        outbox_retry: time until the next check after a failed one.
        marks_check: interval between searches for marks that are no longer needed.
        other_queues_check: interval between checks of queues that no worker of this process serves.
        early_end_kept: time for which it is noted that a durable job ended before its row was written: longer than a
            row takes to follow its job.
        end_grace: time that the process which ended a job has to write its end itself.
        unknown_task_kept: time that the end of a job waits for a worker which knows its task, and so what to redact.
        batch_pause: time between two batches of records that are not full.
        long_batch_pause: the same after a batch with many records: larger batches cost less.
        locked_retry: time after which ends are retried whose rows another transaction has locked.
        write: maximum duration of the write of a batch; after that PostgreSQL counts as unavailable.
        longest_write_pause: maximum time between two writes while PostgreSQL is unavailable.
        end_write: time that PostgreSQL has to store the ends of durable jobs, before Redis does; a lease lasts longer.
        lookup: time that PostgreSQL has to report whether jobs have completed; it counts towards the jobs' timeout.
        plan: time that PostgreSQL has to note an action before it is done: the action matters more.
        search: maximum duration of a search for records; one without an index reads the whole table.
        count: maximum duration of the counts of a page of records.
        unindexed: time after the end of a day, in UTC, in which its records may have no indexes for searches, see
            `Partitions`.
        record_suspension: time for which jobs commit without their records, after one could not be written in a job's
            transaction.
    """

    transaction: float = 10.0
    flush: float = 5.0
    publish_grace: float = 1.0
    outbox_check: float = 15.0
    outbox_retry: float = 2.0
    marks_check: float = 30.0
    other_queues_check: float = 60.0
    early_end_kept: float = 120.0
    end_grace: float = 2.0
    unknown_task_kept: float = 3600.0
    batch_pause: float = 0.05
    long_batch_pause: float = 0.2
    locked_retry: float = 1.0
    write: float = 30.0
    longest_write_pause: float = 5.0
    end_write: float = 3.0
    lookup: float = 2.0
    plan: float = 1.0
    search: float = 15.0
    count: float = 0.4
    unindexed: float = 1200.0
    record_suspension: float = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleTimings(NamedFields):
    """Intervals, waits and limits of the console; all in seconds.

    Attributes:
        sample: interval between two samples of the state while someone watches.
        sample_kept: time for which pages share a sample.
        answer: time that Redis and PostgreSQL have to answer: a page that says which of them does not is better than
            none.
        charts: time that PostgreSQL has to answer with the history; a page without charts is better than none.
        charts_retry: time after which a server that did not answer is asked for the history again.
        count: maximum duration of the counts of a page of jobs; a page without them is better than a slow one.
        runs: maximum duration of all searches for the runs of a task, or of schedules.
        newest_kept: time for which it is remembered from when on records are searched.
    """

    sample: float = 2.0
    sample_kept: float = 1.0
    answer: float = 1.0
    charts: float = 3.0
    charts_retry: float = 2.0
    count: float = 0.03
    runs: float = 0.3
    newest_kept: float = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timings(NamedFields):
    """Intervals, waits and limits; all in seconds.

    Attributes:
        answer: maximum duration of a producer's call to Redis: redis-py's own limits for handshake, command and
            retries add up. In a web process also that of all calls of a request together, once one got no answer.
        free_connection: time that a command waits for a connection to Redis before it gets an additional one.
        lease: lifetime of a lease after its last renewal, less up to a second: it ends with a whole one.
        renewal: interval between renewals of a worker's leases.
        recovery_look: interval between checks for expired leases.
        recovery_wait: wait before the second check of an expired lease, after which its job is recovered; at least
            `renewal`, so that live workers can renew their leases after an outage of Redis.
        second_look: interval between two checks for jobs that a stock worker has taken and not marked as active; a
            stock worker marks them within milliseconds.
        clock_known: maximum age of a reading of the Redis clock, where that is exact enough.
        abort_wait: maximum wait of an enqueue for a job with the same key or claim that is being aborted. The job of a
            killed worker has ended by then; a job that ignores its cancellation may not have.
        abort_look: interval between checks of such a job.
        drain_look: interval between checks for running jobs while a queue drains, and for paused queues while a test
            drains them.
        limit_look: interval between checks whether a job that waits for a limit has its turn, in case the message that
            says so was lost.
        result_patience: wait for a message with a result, before the caller subscribes to the job's own channel.
        listener_check: time without news, after which the listener asks the server whether it still has the jobs.
        listener_pause: pause between tries to listen while Redis is down.
        report_ttl: time after its last report during which a worker counts as live.
        due_look: interval between checks for delayed jobs that are due, in case the worker that waits for that moment
            has died. SAQ checks every second, and SAQ's own crons may need that.
        stop_call: maximum duration of the last call of a stopping worker: Redis may hang, and the worker must still
            end.
        longest_redis_pause: maximum time between two tries of a worker while Redis is down.
        last_write: time that Redis has to accept the outcomes of a worker that ends.
        timeout_check: interval between checks for jobs that run longer than their timeout.
        timeout_grace: time that a cancelled job may continue, before the worker gives it up.
        loop_first: time that the event loop has to give a job up, before the heartbeat thread does it.
        begin_within: time within which a leased job must begin: other jobs may block the event loop, while other
            workers are idle.
        stall: maximum duration of one step of the event loop, before the jobs that wait for it are offered to other
            workers.
        loop_notice: time that the event loop is blocked before this is logged.
        peek: maximum duration of one blocking command that waits for a job; at most 4, because redis-py treats 5
            without an answer as a lost connection.
        pause_check: time that a worker waits for the end of a queue's pause before it asks for jobs anyway.
        leave: maximum duration of the call by which a worker stops waiting for jobs.
        last_lease: time that a stopping worker waits for a lease that may have been made for it just before.
        lost_lease_kept: time after the first check during which the worker looks for the leases of a failed call: a
            server may execute the call late.
        first_postponement: time until the second attempt of a job that met an outage; each further one is twice as
            long.
        longest_postponement: maximum time between two such attempts.
        schedule_check: maximum interval between checks of the ticks by a worker.
        not_consuming: time that a worker with free slots may take no job while jobs wait, before health reports it.
        report_stale: time after its last heartbeat after which the state of a worker is forgotten.
        process_look: interval between checks of the thread that ends a process whose event loop cannot end it.
        process_end: time beyond the grace period that a process has to end in order: covers the steps of
            `EngineWorker.stop`, and is shorter than the wait of a supervisor.
        hopeless: time after which a process ends if its event loop is blocked by a job that was given up, or by no
            job.
        worker_restart: time after which a worker in a web process that stopped by itself is replaced.
        ping_retry: time until a ping that the monitor of a schedule did not take is sent again.
        last_pings: time that such pings have to arrive when the process ends.
        postgres: of the store in PostgreSQL.
        console: of the console.
    """

    answer: float = 5.0
    free_connection: float = 1.0
    lease: float = 8.0
    renewal: float = 2.0
    recovery_look: float = 2.5
    recovery_wait: float = 2.0
    second_look: float = 2.0
    clock_known: float = 60.0
    abort_wait: float = 20.0
    abort_look: float = 0.05
    drain_look: float = 0.2
    limit_look: float = 5.0
    result_patience: float = 1.0
    listener_check: float = 5.0
    listener_pause: float = 0.5
    report_ttl: int = 30
    due_look: int = 2
    stop_call: float = 2.0
    longest_redis_pause: float = 5.0
    last_write: float = 3.0
    timeout_check: float = 0.1
    timeout_grace: float = 5.0
    loop_first: float = 1.0
    begin_within: float = 10.0
    stall: float = 10.0
    loop_notice: float = 2.0
    peek: float = 4.0
    pause_check: float = 8.0
    leave: float = 0.5
    last_lease: float = 0.2
    lost_lease_kept: float = 15.0
    first_postponement: float = 1.0
    longest_postponement: float = 30.0
    schedule_check: float = 10.0
    not_consuming: float = 15.0
    report_stale: float = 30.0
    process_look: float = 0.5
    process_end: float = 7.0
    hopeless: float = 60.0
    worker_restart: float = 1.0
    ping_retry: float = 2.0
    last_pings: float = 5.0
    postgres: PostgresTimings = PostgresTimings()
    console: ConsoleTimings = ConsoleTimings()
