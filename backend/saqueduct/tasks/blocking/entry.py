"""Entry: one task with blocking calls, in Celery's words."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, Self, TypeVar, Unpack, cast

from saqueduct.common.clock import time_now
from saqueduct.common.time_limits import check_delay
from saqueduct.tasks.blocking.portal import Portal
from saqueduct.tasks.blocking.publishing import Pauses, PublishPolicy, publish
from saqueduct.tasks.blocking.results import Result, ResultHere
from saqueduct.tasks.blocking.running import run_here
from saqueduct.tasks.bulk import Call, bind, enqueue_many
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.handle import JobHandle
from saqueduct.tasks.options import CallSettings, Priority
from saqueduct.tasks.queues import TaskQueues, current_queues

P = ParamSpec("P")
R = TypeVar("R")


class Entry(Generic[P, R]):
    """One task with Celery's calls: typed as its function, blocking, to be used in any thread without event loop.

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
        """A task's blocking calls on the queues of this process.

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
        """Enqueue a job; raises QueueUnavailable when Redis is still away after Celery's three more tries."""
        return self._publish(args, kwargs, Pauses())

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
        """Enqueue a job with Celery's options; `options` has those that Celery lacks.

        Args:
            args: arguments by position.
            kwargs: arguments by name.
            task_id: the job's key; while a job of that key waits or runs, this is answered with that one.
            countdown: seconds before the job may start.
            eta: aware time before which it does not start; not together with `countdown`.
            expires: seconds from now, or aware time, by which it must have started, else it is revoked.
            retry: False: raise as soon as Redis has not answered.
            retry_policy: how often and when to try again while Redis is away; see `PublishPolicy`.
            ignore_result: True: the job is forgotten at its end, and `get` returns None.
            queue: another queue than the task's.
            priority: another level than the task's.

        Raises:
            ValueError: impossible options; names the option.
            QueueUnavailable: Redis did not answer, to the last try.
        """
        pauses = Pauses.of(retry_policy) if retry else ()
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
        """Run the task here and now, once: validated and injected as by a worker, and nothing is queued.

        Args:
            args: arguments by position.
            kwargs: arguments by name.
            throw: True: raise what the task raises, instead of keeping it in the result.
        """
        result = self._portal.run(self._run_here, args or (), kwargs or {})
        if throw:
            result.get()
        return result

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the task here and now as `apply` does; returns what it returns, and raises what it raises."""
        return self._portal.run(self._run_here, args, kwargs).get()

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """`Task.enqueue`, for async code."""
        [handle] = await enqueue_many([self._bind(args, kwargs)])
        return handle

    def AsyncResult(self, task_id: str) -> Result[R]:  # noqa: N802  (Celery's name)
        """The result of a job that was enqueued before, by its key.

        Raises:
            JobNotFound: it is not known, or not any more.
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
    """Celery's times as `CallOptions` takes them."""
    if countdown is not None and eta is not None:
        raise ValueError("give countdown or eta, not both")
    if countdown is not None:
        check_delay("countdown", countdown)
    if isinstance(expires, dt.datetime):
        if expires.tzinfo is None:
            raise ValueError(f"expires must be seconds or an aware datetime, not {expires!r}")
        # One that is over already: the job ends revoked, it is not refused, as in Celery.
        expires = max(0.0, expires.timestamp() - time_now())
    return {"delay": countdown, "eta": eta, "expires": expires}
