"""Task: a decorated function that can still be called, and that can enqueue jobs."""

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, cast

from saq.types import Context

from saqueduct.schedules.schedule import Schedule
from saqueduct.tasks.blocking.entry import Entry
from saqueduct.tasks.blocking.results import Result
from saqueduct.tasks.bulk import Call, Progress, bind, enqueue_many, results
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.direct_call import direct_call
from saqueduct.tasks.handle import JobHandle, handle_of
from saqueduct.tasks.options import TaskOptions
from saqueduct.tasks.queues import current_queues
from saqueduct.tasks.rules import TaskRules, attach
from saqueduct.tasks.runner import make_runner

P = ParamSpec("P")
R = TypeVar("R")


class Task(TaskDefinition, Generic[P, R]):
    """A task: callable like the decorated function, and run by workers through `runner`; see `TaskDefinition`."""

    __name__: str

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        options: TaskOptions | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(function, name, options)
        self.runner = make_runner(self)
        rules = TaskRules(
            retries_after=self.defaults.retries_after,
            is_final=self.defaults.is_final,
            limits_of=self.limits_of,
            record_logs=self.defaults.record_logs,
        )
        attach(self.runner, rules)
        if schedule is not None:
            self.add_schedule(schedule)
        functools.update_wrapper(cast("Callable[..., Any]", self), function)

    def __repr__(self) -> str:
        return f"<Task {self.name} at {self.where}>"

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """A call to enqueue later, together with others; see `enqueue_many`. Validated now.

        Raises:
            InvalidArguments, PayloadTooLarge: see `Signature.encode`.
            ConfigurationError: the queues of this process are not connected.
        """
        return bind(self, self.signature.bind(args, kwargs))

    def call(self, arguments: Mapping[str, Any]) -> Call[R]:
        """`bind` for a mapping of arguments by name, for example from a request."""
        return bind(self, arguments)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Enqueue a job; the call is typed like the function, without `ctx`.

        Omit injected parameters: give them the default `INJECTED` to satisfy type checkers.

            job = await send_email.enqueue(to="ada@example.com", subject="Hi", body="...")

        Returns:
            The job's handle; if a job with that `key` already waits or runs, the handle of that older job.

        Raises:
            InvalidArguments, PayloadTooLarge: nothing is enqueued.
            QueueUnavailable: Redis did not answer.
            ConfigurationError: the application or worker of this process has not started its queues.
        """
        arguments = self.signature.bind(args, kwargs)
        queue = current_queues().get(self.queue_name)
        job = self.job(arguments, limit=queue.max_payload_bytes)
        [enqueued] = await queue.enqueue_many([job], session=self.call_options.session)
        return handle_of(self, job, queue, enqueued)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """Enqueue a job from code without an event loop; see `Entry.delay`.

            send_email.delay("ada@example.com", "Subject", "Body").get(timeout=10)

        Raises:
            CalledInEventLoop: an event loop runs in this thread; await `enqueue` there.
            InvalidArguments, PayloadTooLarge, QueueUnavailable, ConfigurationError: as `enqueue`.
        """
        return self._entry().delay(*args, **kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Result[R]:
        """`delay` with Celery's options; see `Entry.apply_async` for their types. Raises as `delay`."""
        return self._entry().apply_async(args, kwargs, **options)

    def _entry(self) -> Entry[P, R]:
        entry: Entry[P, R] = Entry.of_process(self)
        return entry

    async def apply(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Enqueue a job and wait for its result; raises as `enqueue` and `JobHandle.result`."""
        return await (await self.enqueue(*args, **kwargs)).result()

    async def map(self, arguments: Iterable[Mapping[str, Any]], *, progress: Progress | None = None) -> list[R]:
        """Enqueue a job for each set of arguments, in few round trips, and return all results, in order.

            sizes = await measure.map([{"url": url} for url in urls])

        Args:
            arguments: one mapping per job, by parameter name.
            progress: called each time a job ends, with the number of ended jobs, and the total.

        Raises:
            InvalidArguments, PayloadTooLarge: one set does not fit; nothing is enqueued.
            JobFailed, JobAborted: for the first job that ended without a result; the others continue.
        """
        return await results(await enqueue_many([self.call(each) for each in arguments]), progress)


class AsyncTask(Task[P, R]):
    """A task made of an `async def` function."""

    def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the function itself; nothing is queued or validated, injected parameters may be omitted.

        Raises:
            ConfigurationError: the process does not provide an omitted parameter; see `direct_call`.
        """
        call = direct_call(self, (ctx, *args), kwargs)
        return cast("Coroutine[Any, Any, R]", call.run() if call else self.function(ctx, *args, **kwargs))


class SyncTask(Task[P, R]):
    """A task made of a `def` function; workers run it in a thread."""

    def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, in this thread; otherwise like `AsyncTask`.

        Raises:
            ConfigurationError: the process does not provide an omitted parameter; see `direct_call`.
            CalledInEventLoop: a parameter must be injected, and an event loop runs in this thread.
        """
        call = direct_call(self, (ctx, *args), kwargs)
        return cast("R", call.run_blocking() if call else self.function(ctx, *args, **kwargs))
