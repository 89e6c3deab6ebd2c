"""Entry: one task with blocking calls, using Celery's names."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, Self, TypeVar, Unpack, cast

from saqueduct.common.clock import time_now
from saqueduct.common.time_limits import check_delay
from saqueduct.tasks.blocking.portal import Portal
from saqueduct.tasks.blocking.publishing import PublishPauses, PublishPolicy, publish
from saqueduct.tasks.blocking.results import Result, ResultHere
from saqueduct.tasks.blocking.running import run_here
from saqueduct.tasks.bulk import Call, bind, enqueue_many
from saqueduct.tasks.call_options import CallSettings
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.handle import JobHandle
from saqueduct.tasks.options import Priority
from saqueduct.tasks.queues import TaskQueues, current_queues

P = ParamSpec("P")
R = TypeVar("R")


class Entry(Generic[P, R]):
    """One task with Celery's calls: typed like its function, blocking, for any thread without an event loop.

        registry.ping.delay().get(timeout=10)

    The calls raise:
        InvalidArguments, PayloadTooLarge: nothing was enqueued or run.
        CalledInEventLoop, ConfigurationError: see `Portal`.
    """

    def __init__(self, task: TaskDefinition, portal: Portal, queues: TaskQueues) -> None:
        self.task = task
        self._portal = portal
        self._queues = queues
        self.__signature__ = task.call_signature
        self.__doc__ = f"{task.name}{self.__signature__}\n\n{task.doc}".rstrip()

    @classmethod
    def of_process(cls, task: TaskDefinition) -> Self:
        """The blocking calls of a task, on the queues of this process.

        Raises:
            ConfigurationError: the process has no connected queues.
        """
        queues = current_queues()
        return cls(task, Portal(queues), queues)

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    def options(self, **options: Unpack[CallSettings]) -> Self:
        """The same entry with options for its jobs; see `CallOptions`.

            registry.send_email.options(timeout=120, retries=5).delay(to="ada@example.com", subject="Hi", body="...")

        Raises:
            ValueError: see `CallOptions`.
        """
        return type(self)(self.task.options(**options), self._portal, self._queues)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """Enqueue a job; raises QueueUnavailable if Redis is still down after Celery's three more tries."""
        return self._publish(args, kwargs, PublishPauses())

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        *,
        countdown: float | None = None,
        eta: dt.datetime | None = None,
        expires: float | dt.datetime | None = None,
        retry: bool = True,
        retry_policy: PublishPolicy | None = None,
        ignore_result: bool = False,
        queue: str | None = None,
        priority: Priority | None = None,
    ) -> Result[R]:
        """Enqueue a job with Celery's options; use `options` for those that Celery lacks.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            task_id: the job's key; while a job with that key waits or runs, that job is returned.
            countdown: seconds before the job may start.
            eta: aware time before which the job does not start; not together with `countdown`.
            expires: seconds from now, or aware time, by which the job must have started; otherwise it is revoked.
            retry: False: raise the first time that Redis does not answer.
            retry_policy: how often and when to try again while Redis is down; see `PublishPolicy`.
            ignore_result: True: the job is deleted when it ends, and `get` returns None.
            queue: queue to use instead of the task's.
            priority: priority to use instead of the task's.

        Raises:
            ValueError: an invalid option; names it.
            QueueUnavailable: Redis did not answer, even at the last try.
        """
        pauses = PublishPauses.of(retry_policy) if retry else ()
        options: dict[str, Any] = {
            "key": task_id,
            **_times(countdown, eta, expires),
            "keep_result": not ignore_result,
            "queue": queue,
            "priority": priority,
        }
        given = cast("CallSettings", {name: value for name, value in options.items() if value is not None})
        return self.options(**given)._publish(args or (), kwargs or {}, pauses, ignored=ignore_result)

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        throw: bool = False,
    ) -> ResultHere[R]:
        """Run the task in this process, once: validated and injected as by a worker, but not queued.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            throw: True: raise the task's exception, instead of storing it in the result.
        """
        result = self._portal.run(self._run_here, args or (), kwargs or {})
        if throw:
            result.get()
        return result

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the task in this process like `apply`; returns its result, or raises its exception."""
        return self._portal.run(self._run_here, args, kwargs).get()

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """`Task.enqueue`, for async code."""
        [handle] = await enqueue_many([self._bind(args, kwargs)])
        return handle

    def AsyncResult(self, task_id: str) -> Result[R]:  # noqa: N802  (Celery's name)
        """The result of a job that was enqueued earlier, by its key.

        Raises:
            JobNotFound: the job does not exist, or no longer exists.
            QueueUnavailable: Redis did not answer.
        """
        return Result(self._portal, self._portal.run(self._find, task_id))

    def _publish(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], pauses: Iterable[float], *, ignored: bool = False
    ) -> Result[R]:
        async def bind_and_publish() -> JobHandle[R]:
            return await publish(self._bind(args, kwargs), pauses)

        return Result(self._portal, self._portal.run(bind_and_publish), ignored=ignored)

    async def _run_here(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ResultHere[R]:
        call = self._bind(args, kwargs)
        outcome: R | Exception
        try:
            outcome = await run_here(call, self._queues.injector, self._queues.get(self.task.queue_name))
        except Exception as error:
            outcome = error
        return ResultHere(call.job.key, outcome)

    async def _find(self, key: str) -> JobHandle[R]:
        job = await self._queues.find(key)
        convert = self.task.signature.decode_result
        return JobHandle(self._queues.get(job.get_queue().name), key, convert, job, created=False)

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call[R]:
        return bind(self.task, self.task.signature.bind(args, kwargs))

    def __repr__(self) -> str:
        return f"<Entry {self.name}>"


def _times(
    countdown: float | None, eta: dt.datetime | None, expires: float | dt.datetime | None
) -> dict[str, float | dt.datetime | None]:
    """Convert Celery's times to the form of `CallOptions`."""
    if countdown is not None and eta is not None:
        raise ValueError("give countdown or eta, not both")
    if countdown is not None:
        check_delay("countdown", countdown)
    if isinstance(expires, dt.datetime):
        if expires.tzinfo is None:
            raise ValueError(f"expires must be seconds or an aware datetime, not {expires!r}")
        # A time in the past: as in Celery, the job is accepted and ends revoked.
        expires = max(0.0, expires.timestamp() - time_now())
    return {"delay": countdown, "eta": eta, "expires": expires}
