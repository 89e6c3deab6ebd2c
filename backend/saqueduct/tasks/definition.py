"""TaskDefinition: a decorated function, its options and schedules, and how to create jobs from it."""

import copy
import dataclasses
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, Unpack

from saq import Job
from saq.job import CronJob
from saq.types import Context

from saqueduct.common.functions import are_alike, at_one_place, is_run_again, location, module_run
from saqueduct.errors import InvalidArguments, RegistrationError
from saqueduct.flow.limits import Fair, Limit, check_name, name_of, parameters_of
from saqueduct.schedules.schedule import Schedule
from saqueduct.tasks import debouncing
from saqueduct.tasks.call_options import CallOptions, CallSettings
from saqueduct.tasks.current_job import lineage
from saqueduct.tasks.job import EngineJob, like, make
from saqueduct.tasks.job_meta import DURABLE, LIMITS
from saqueduct.tasks.limit_keys import limits_of_job, turns_of_job
from saqueduct.tasks.newest import with_limit
from saqueduct.tasks.option_names import CALL_EQUALS, unknown_option
from saqueduct.tasks.options import TaskOptions
from saqueduct.tasks.signature import MAX_PAYLOAD_BYTES, Signature
from saqueduct.tasks.unique import Unique

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

Runner = Callable[..., Coroutine[Any, Any, Any]]
"""Runs one attempt of a task's job: takes its context and its payload by parameter name."""


class TaskDefinition:
    """Everything that defines a task; `Task` adds the calls.

    Attributes:
        name: the task name stored in its jobs; unique in the registry.
        function: the decorated function itself.
        is_async: True for a coroutine function; other functions run in a thread.
        defaults: options of its jobs unless a call overrides them.
        call_options: the options set by `options(...)`.
        signature: its parameters and their types.
        schedules: when it runs automatically.
        runner: the coroutine function that SAQ calls; its `__qualname__` is the task's name, because SAQ and
            litestar-saq look functions up by that.
    """

    runner: Runner

    def __init__(self, function: Callable[..., Any], name: str | None, options: TaskOptions | None) -> None:
        self.function = function
        self._module_run = module_run()
        self.is_async = inspect.iscoroutinefunction(function)
        self.name = name or function.__name__
        self.defaults = options or TaskOptions()
        self.call_options = CallOptions()
        self._template: EngineJob | None = None
        self.schedules: tuple[Schedule, ...] = ()
        self.signature = Signature(function, self.defaults.redact)
        self.signature.task = self.name
        try:
            self.defaults = with_limit(self.name, self.defaults, self.signature.payload)
        except ValueError as error:
            raise RegistrationError(function, str(error)) from None
        self._check_unique(self.defaults.unique)
        self._check_limits()
        debouncing.check_parameters(self.function, self.defaults.debounce, self.signature.payload)

    @property
    def where(self) -> str:
        """`file:line` of the function, below its other decorators."""
        return location(self.function)

    @property
    def injected(self) -> Mapping[str, Any]:
        """The parameters that are injected, name -> type."""
        return self.signature.injected

    @property
    def passed(self) -> Mapping[str, Any]:
        """The parameters that each call passes, name -> type."""
        return {name: parameter.type for name, parameter in self.signature.payload.items()}

    @property
    def doc(self) -> str:
        """The function's docstring, dedented; empty without one."""
        return inspect.getdoc(self.function) or ""

    def is_same(self, first: "TaskDefinition") -> bool:
        """True if it is the same task again: its module was reloaded, or the same code created it again."""
        if not at_one_place(first.function, self.function):
            return False
        if is_run_again(first._module_run, self._module_run):
            return True
        return (
            are_alike(first.function, self.function)
            and first.defaults == self.defaults
            and all(each in first.schedules for each in self.schedules)
        )

    @property
    def call_signature(self) -> inspect.Signature:
        """The signature for callers: without the context and the injected parameters."""
        signature = inspect.signature(self.function)
        _, *others = signature.parameters.values()
        return signature.replace(parameters=[each for each in others if each.name not in self.signature.injected])

    def options(self, **options: Unpack[CallSettings]) -> Self:
        """The same task with other options for its jobs, see `CallOptions`; omitted options keep their value.

            later = send_email.options(delay=60, retries=5)
            await later.enqueue(to="ada@example.com", subject="Hi", body="...")

        Raises:
            ValueError: an unknown option (the message names the equivalent here), one that a debounced task does not
                take, or see `CallOptions`.
            RegistrationError: `unique` names a parameter that the task does not have, or `queue` another queue than
                that of the task's limits.
        """
        if problem := unknown_option(options, CallSettings.__annotations__, CALL_EQUALS):
            raise ValueError(problem)
        changed = copy.copy(self)
        changed.call_options = dataclasses.replace(self.call_options, **options)
        changed._template = None
        if self.defaults.debounce is not None:
            debouncing.check_call(
                self.name, dataclasses.asdict(dataclasses.replace(changed.call_options, meta=None, session=None))
            )
        changed._check_unique(changed.call_options.unique)
        changed.check_queue(changed.queue_name)
        return changed

    def within(self, session: "AsyncSession") -> Self:
        """The same task, but its jobs exist if and only if the session's transaction commits.

        async with transaction(maker) as session:
            session.add(user)
            await send_welcome_email.within(session).enqueue(user_id=user.id)
        """
        return self.options(session=session)

    def job(
        self,
        arguments: Mapping[str, Any],
        *,
        limit: int = MAX_PAYLOAD_BYTES,
        **fields: Any,
    ) -> EngineJob:
        """Create a job with validated arguments; it is not enqueued yet.

        Args:
            arguments: by parameter name.
            limit: largest encoded size of the arguments, in bytes.
            fields: fields of SAQ's Job that override the options (`key`, `timeout`, `scheduled`...).

        Raises:
            InvalidArguments: see `Signature.encode`.
            PayloadTooLarge: see `Signature.encode`.
            ValueError: a field that a debounced task does not take.
        """
        kwargs = self.signature.encode(arguments, limit)
        given = {name: value for name, value in fields.items() if value is not None}
        template = self._like()
        if given:
            template = make({**vars(template), **given, "meta": {**template.meta, **given.get("meta", {})}})
        meta = lineage() or {}
        if template.meta:
            # A copy for this job alone: a hook may change it.
            meta |= copy.deepcopy(template.meta)
        job = like(template, kwargs, meta)
        if self.call_options.delay and "scheduled" not in given:
            job.delay = self.call_options.delay
        if self.call_options.expires is not None:
            job.expires = self.call_options.expires
        if (unique := self.call_options.unique or self.defaults.unique) is not None:
            job.claim = unique.claim(self.name, self.signature.filled(kwargs))
        if self.defaults.debounce is not None:
            debouncing.check_call(self.name, given)
            debouncing.debounce(job, self.defaults.debounce, self.signature.filled(kwargs))
        if self.takes_turns:
            self.limit(job)
            job.limited = True
        return job

    def undebounced(self) -> Self:
        """The same task, each call of which is a job."""
        if self.defaults.debounce is None:
            return self
        changed = copy.copy(self)
        changed.defaults = dataclasses.replace(self.defaults, debounce=None)
        return changed

    def limit(self, job: Job) -> None:
        """Give a job the limits of the task, and its place in the turns, with their keys for its arguments.

        Raises:
            InvalidArguments: the arguments do not fit.
        """
        job.meta[LIMITS] = self.limits_of(job.kwargs or {})
        if (fair := self.defaults.turns) is not None:
            arguments = self.signature.filled(job.kwargs or {})
            job.meta[LIMITS].append(turns_of_job(self.name, fair, arguments, self.signature.redact))

    def limits_of(self, kwargs: Mapping[str, Any]) -> list[list[str]]:
        """The limits of a job, see `limit_keys.limits_of_job`.

        Args:
            kwargs: its arguments as it carries them.

        Raises:
            InvalidArguments: they do not fit.
        """
        arguments = self.signature.filled(kwargs)
        return limits_of_job(self.name, self.defaults.limits, arguments, self.signature.redact)

    @property
    def takes_turns(self) -> bool:
        """True if its jobs wait in lanes: it has limits, or is fair."""
        return bool(self.defaults.limits or self.defaults.fair)

    def check_queue(self, queue: str) -> None:
        """Check that a queue may have jobs of the task.

        Raises:
            RegistrationError: the task has limits, which apply in its own queue only.
        """
        if self.defaults.all_limits and queue != self.defaults.queue:
            raise RegistrationError(
                self.function,
                f"has limits, which are kept in its queue {self.defaults.queue!r}: its jobs cannot go to {queue!r}; "
                "write a second task, with limits of its own",
            )

    def _like(self) -> EngineJob:
        """A template job from the options; the same for every call, unless they depend on the time of the call."""
        if self._template is not None:
            return self._template
        defaults, call = self.defaults.job_fields(), self.call_options.job_fields()
        meta = {**defaults.pop("meta", {}), **call.pop("meta", {})}
        if not meta.get(DURABLE, True):
            # What it overrides is gone: a job without entries costs less everywhere.
            del meta[DURABLE]
        template = make({"function": self.name, "key": "", **defaults, **call, "meta": meta})
        if not self.call_options.depends_on_time:
            self._template = template
        return template

    @property
    def queue_name(self) -> str:
        """The name of the queue for its jobs."""
        return self.call_options.queue or self.defaults.queue

    def split(self, call: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Divide the keywords of SAQ's `enqueue(name, **keywords)` into arguments and job fields.

        A keyword that the function declares is an argument, even if SAQ's Job has a field of that name. Other
        keywords that have the name of a field are fields. `kwargs={...}` always holds arguments.
        """
        nested = {} if "kwargs" in self.signature.payload else dict(call.get("kwargs") or {})
        fields: dict[str, Any] = {}
        for name, value in call.items():
            if name in self.signature.payload or name not in Job.__dataclass_fields__:
                nested[name] = value
            elif name != "kwargs":
                fields[name] = value
        return nested, fields

    @property
    def schedule(self) -> Schedule | None:
        """The first of its schedules, or None."""
        return self.schedules[0] if self.schedules else None

    def add_schedule(self, schedule: Schedule) -> None:
        """Add a schedule; a schedule without a key gets the task's name as its key.

        Raises:
            RegistrationError: the schedule's arguments do not fit, or another one of the task has that key.
        """
        if schedule.args:
            schedule = self._named_arguments(schedule)
        named = dataclasses.replace(schedule, key=schedule.key or self.name)
        if self.defaults.debounce is not None:
            raise RegistrationError(
                self.function,
                "is debounced, and each tick of a schedule is a job: schedule a second task, which calls its enqueue",
            )
        if named.key in {other.key for other in self.schedules}:
            raise RegistrationError(self.function, f"two schedules have the key {named.key!r}; give one another key=")
        try:
            self.signature.encode(named.kwargs)
        except InvalidArguments as error:
            raise RegistrationError(
                self.function, f"the schedule's kwargs do not fit: {error}; give them in kwargs={{...}}"
            ) from None
        self.schedules = (*self.schedules, named)

    def _named_arguments(self, schedule: Schedule) -> Schedule:
        """The schedule with its positional arguments converted to arguments by name."""
        try:
            kwargs = self.signature.bind(schedule.args, schedule.kwargs)
        except InvalidArguments as error:
            raise RegistrationError(self.function, f"the schedule's args do not fit: {error}") from None
        return dataclasses.replace(schedule, args=(), kwargs=kwargs)

    def cron_jobs(self) -> list[CronJob[Context]]:
        """Its crons in SAQ's form; SAQ has no intervals and no time zone per cron."""
        options = self.defaults
        return [
            CronJob(
                function=self.runner,
                cron=schedule.cron,
                timeout=options.timeout,
                heartbeat=options.heartbeat,
                retries=options.retries,
                ttl=options.ttl,
                kwargs=self.signature.encode(schedule.kwargs),
            )
            for schedule in self.schedules
            if schedule.cron is not None
        ]

    def _check_unique(self, unique: Unique | None) -> None:
        unknown = set(unique.by) - self.signature.payload.keys() if unique else set()
        if unknown:
            raise RegistrationError(
                self.function, f"unique names {', '.join(sorted(unknown))}, which are not arguments of the task"
            )
        if unique is not None and unique.on_conflict == "cancel" and unique != self.defaults.unique:
            raise RegistrationError(
                self.function,
                'unique: declare on_conflict="cancel" on the task, because all its jobs have to wait for each other',
            )

    def _check_limits(self) -> None:
        if (fair := self.defaults.turns) is not None:
            self._check_parameters(fair, fair.parameters)
        for each in self.defaults.limits:
            self._check_parameters(each, parameters_of(each))
        for each in self.defaults.all_limits:
            try:
                check_name(type(each).__name__, name_of(each, self.name))
            except ValueError as error:
                raise RegistrationError(self.function, str(error)) from None
        names = [name_of(each, self.name) for each in self.defaults.all_limits]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RegistrationError(
                self.function,
                f"two of its limits have the name {twice[0]!r}, which a limit without a name has from its task: give "
                "each its own name",
            )

    def _check_parameters(self, option: Limit | Fair, names: Iterable[str]) -> None:
        known = self.signature.payload
        if unknown := [name for name in names if name not in known]:
            raise RegistrationError(
                self.function,
                f"{option!r} names {', '.join(unknown)}, which are not arguments of the task "
                f"(there are: {', '.join(known) or 'none'})",
            )


class TaskLookup(Protocol):
    """How a queue looks up tasks; `TaskRegistry` implements it."""

    def get(self, name: str) -> TaskDefinition: ...
    def get_all_tasks(self) -> Sequence[TaskDefinition]: ...
