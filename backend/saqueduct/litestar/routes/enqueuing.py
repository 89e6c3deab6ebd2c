"""Enqueue over HTTP: arguments from the body, options from query and header, and the wait for a result."""

import datetime as dt
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from litestar import Request, Response
from litestar.exceptions import ValidationException
from saq import Job

from saqueduct.common.strict_json import NestedTooDeep, RepeatedMember, decode
from saqueduct.errors import InvalidArguments, JobAborted, JobFailed, JobNotFound, QueueUnavailable, ResultTimeout
from saqueduct.litestar.idempotency import IdempotentRequest
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.requests import repeated
from saqueduct.litestar.responses import JSONResponse
from saqueduct.litestar.routes.answers import EnqueuedJob
from saqueduct.litestar.routes.listeners import WAITING
from saqueduct.litestar.routes.views import JobView
from saqueduct.litestar.unknown import IDEMPOTENCY_KEY
from saqueduct.queue.queues import Queues
from saqueduct.tasks.handle import JobHandle
from saqueduct.tasks.job import Enqueued, own_fields
from saqueduct.tasks.task import Task

LONGEST_WAIT: Final = 60.0
"""Seconds that a request may wait for a result."""

QUERY: Final = ("delay", "eta", "key", "priority", "expires", "wait")
"""Names of the query parameters; fields of `EnqueueQuery`."""

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class EnqueueQuery(msgspec.Struct, frozen=True):
    """The query of a request that enqueues. The options are those of `Task.options`."""

    delay: Seconds | None = None
    """Seconds before the job may start."""
    eta: dt.datetime | None = None
    """Time before which it does not start, with an offset; not together with `delay`."""
    key: str | None = None
    """The job's key; while a job of that key waits or runs, no other is made. Also that of the header
    `Idempotency-Key`."""
    priority: Literal["high", "normal", "low"] | None = None
    expires: Seconds | None = None
    """Seconds by which it must have started, else it never runs."""
    wait: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_WAIT)] | None = None
    """Seconds to wait for its end; the answer is then the job, with its result."""
    idempotent: bool = False
    """True: the header gives the key; no parameter of a query."""

    def options(self) -> dict[str, Any]:
        """Keywords of `Task.options`; empty: none is asked for."""
        names = ("delay", "eta", "key", "priority", "expires")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


PLAIN: Final = EnqueueQuery()


class MadeJob(NamedTuple):
    """The job of a request."""

    queue: str
    key: str
    job: Job | None
    """None: an earlier request has enqueued it, and Redis has forgotten it since."""
    new: bool
    """True: this request has created it."""
    own: bool
    """True: this request has created it, or an earlier one with the same Idempotency-Key and content: the answer has
    its token."""


def asked(request: Request[Any, Any, Any], *own: str) -> EnqueueQuery:
    """What query and header ask for.

    Args:
        request: of the route.
        own: query parameters that the route itself reads.

    Raises:
        ValidationException: a value does not fit, or query and header give two keys.
    """
    given = {name: value for name, value in request.query_params.items() if name not in own}
    key = _key_of_header(request)
    if key is not None and given.setdefault("key", key) != key:
        raise _invalid("key", "the query and the header Idempotency-Key give two keys: give one")
    if not given:
        return PLAIN
    for name in given:
        try:
            # Otherwise a number would be a time: seconds since 1970.
            msgspec.convert({name: given[name]}, EnqueueQuery, strict=name == "eta")
        except msgspec.ValidationError as error:
            raise _invalid(name, str(error).partition(" - at ")[0]) from None
    if given.get("key") == "":
        raise _invalid("key", "it must not be empty")
    if "\N{REPLACEMENT CHARACTER}" in given.get("key", ""):
        # Otherwise all keys that cannot be decoded would be the same key.
        raise _invalid("key", "it is not UTF-8")
    query = msgspec.convert(given, EnqueueQuery, strict=False)
    return query if key is None else msgspec.structs.replace(query, idempotent=True)


def _key_of_header(request: Request[Any, Any, Any]) -> str | None:
    values = [value for name, value in request.scope["headers"] if name == IDEMPOTENCY_KEY]
    if not values:
        return None
    problem = "the header is given twice: give it once" if len(values) > 1 else ""
    try:
        key = values[0].decode()
    except UnicodeDecodeError:
        key, problem = "", problem or "the header is not UTF-8"
    if problem or not key:
        raise _invalid("Idempotency-Key", problem or "the header must not be empty", "header")
    return key


def with_options(task: Task[..., Any], query: EnqueueQuery) -> Task[..., Any]:
    """The task with the options of a query.

    Raises:
        ValidationException: they contradict each other, or end in an impossible year.
    """
    options = query.options()
    if not options:
        return task
    try:
        return task.options(**options)
    except (ValueError, OverflowError) as error:
        raise ValidationException(str(error)) from None


def arguments_of(content: Any, task: str) -> dict[str, Any]:
    """The arguments of a job, from a body.

    Raises:
        InvalidArguments: it is no object.
    """
    if not isinstance(content, dict):
        raise InvalidArguments(task, {"body": "must be a JSON object with one member for each argument"})
    return content


async def body_of(request: Request[Any, Any, Any]) -> Any:
    """The body as JSON; an empty object where there is none.

    Raises:
        ValidationException: it is no JSON, or nested too deep, or an object in it has a member twice.
    """
    body = await request.body()
    try:
        return decode(body) if body.strip() else {}
    except RepeatedMember as error:
        raise repeated(error) from None
    except NestedTooDeep as error:
        raise ValidationException(str(error)) from None
    except msgspec.DecodeError as error:
        raise ValidationException(f"the body is not JSON: {error}") from None


async def enqueue(
    task: Task[..., Any], arguments: dict[str, Any], query: EnqueueQuery, queues: Queues, links: JobLinks
) -> MadeJob:
    """Enqueue the job of a request; with an Idempotency-Key, one job for all requests with the key.

    Raises:
        RequestRefused, QueueUnavailable: see `IdempotentRequest.once`.
        InvalidArguments, PayloadTooLarge, DuplicateJob: see `Queues.enqueue`.
    """
    if not query.idempotent or query.key is None:
        return _made(await queues.enqueue(task, arguments))
    found: list[Job] = []

    async def first() -> list[Enqueued]:
        made = _made(await queues.enqueue(task, arguments))
        if made.job is not None:
            found.append(made.job)
        return [Enqueued(made.key, made.new)]

    queue = queues.get(task.queue_name)
    request = IdempotentRequest.of(queue, task, query.key, arguments, query.options(), links)
    [answer], is_first = await request.once(first)
    if is_first:
        return _made(found[0])
    return MadeJob(queue.name, answer.key, await queue.fetch(answer.key), new=False, own=answer.created)


def _made(job: Job) -> MadeJob:
    new = own_fields(job).created
    return MadeJob(job.get_queue().name, job.key, job, new=new, own=new)


async def answer(made: MadeJob, query: EnqueueQuery, queues: Queues, links: JobLinks, *, whole: bool) -> Response[Any]:
    """The answer to an enqueue, after the wait that was asked for.

    The job with its result, and 201 or 200 as without a wait; 202 and the job in its current state, if it does not end
    in time.
    """
    # A job that existed before belongs to another caller, whose result must not be visible to all who choose its key.
    location = {"Location": links.address(made.queue, made.key, created=made.own)}
    plain = JSONResponse(EnqueuedJob(made.key, made.new), status_code=201 if made.new else 200, headers=location)
    if query.wait is None or made.job is None:
        return plain
    ended, present = await _wait(made.job, query.wait, queues)
    view = JobView.of(present)
    if not whole:
        view = view.without_details() if made.own else view.without_outcome()
    status = plain.status_code if ended else 202
    content = {"created": made.new, **msgspec.structs.asdict(view)}
    return Response(
        {name: value for name, value in content.items() if value is not msgspec.UNSET},
        status_code=status,
        headers=plain.headers,
    )


async def _wait(job: Job, seconds: float, queues: Queues) -> tuple[bool, Job]:
    """Wait for the end of a job; returns whether it came, and the job as it was last seen."""
    handle: JobHandle[Any] = JobHandle(queues.get(job.get_queue().name), job.key, lambda result: result, job)
    if not WAITING.enter():
        return False, job
    try:
        await handle.result(seconds)
    except (JobFailed, JobAborted):
        pass
    except (ResultTimeout, JobNotFound, QueueUnavailable):
        # The job is enqueued anyway, and an error would make the client enqueue it again.
        return False, handle.job or job
    finally:
        WAITING.leave()
    return True, handle.job or job


def _invalid(name: str, problem: str, source: str = "query") -> ValidationException:
    return ValidationException(f"{name}: {problem}", extra=[{"key": name, "message": problem, "source": source}])
