"""Running: one attempt of a task's job, from its payload to its result."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from saq.types import Context

from saqueduct.common.exception_groups import find
from saqueduct.errors import ConfigurationError, GiveUp, InvalidArguments, JobSuperseded, PayloadMismatch
from saqueduct.injection.context import injector_of
from saqueduct.injection.injector import Injector
from saqueduct.tasks.completion import Ended, announce, completed, decided, may_have_completed
from saqueduct.tasks.definition import Runner, TaskDefinition
from saqueduct.tasks.job import own_fields
from saqueduct.tasks.redaction import keep
from saqueduct.tasks.signature import MAX_PAYLOAD_BYTES
from saqueduct.tasks.threads import in_thread


def make_runner(task: TaskDefinition) -> Runner:
    """The function that SAQ calls for a task: runs one attempt; decodes, injects, calls, and encodes the result.

    It takes the context and the payload, as JSON builtins by parameter name, and raises:

    - PayloadMismatch: the payload does not fit the signature; the function is not called.
    - InvalidResult, PayloadTooLarge: the result does not have the declared type, or cannot be encoded.
    - any exception of the function.
    """
    name, signature, injected = task.name, task.signature, task.injected
    function: Runner = task.function if task.is_async else partial(in_thread, task.function)

    commits, keeps, receive = bool(injected), signature.keeps, signature.receive

    async def run(ctx: Context, /, **raw: Any) -> Any:
        if may_have_completed(ctx, commits=commits):
            if (done := await completed(ctx)) is not None:
                return _ended(ctx, done)
            await _still_ours(ctx)
        if signature.redact:
            keep(signature.secrets(raw))
        try:
            arguments = receive(raw)
        except PayloadMismatch as error:
            error.job = ctx.get("job")
            raise
        try:
            if not injected:
                result = await function(ctx, **arguments)
                return result if keeps(result) else signature.encode_result(result, _limit(ctx))
            async with _injector(ctx, name).scope(injected) as found:
                await _still_ours(ctx)
                result = await function(ctx, **arguments, **found)
                # Inside the scope: a result that cannot be stored must roll the session back.
                encoded = signature.encode_result(result, _limit(ctx))
                if (job := ctx.get("job")) is not None and own_fields(job).given_up:
                    # Another attempt may already run: roll back the work of this one.
                    raise JobSuperseded(job.key)
                announce(ctx, encoded)
                return encoded
        except (Exception, BaseExceptionGroup) as error:
            if find(error, JobSuperseded):
                return None if (done := await completed(ctx)) is None else _ended(ctx, done)
            if find(error, (GiveUp, InvalidArguments)):
                _spend_attempts(ctx)
            raise

    run.__name__ = run.__qualname__ = name
    run.__module__, run.__doc__ = task.function.__module__, task.function.__doc__
    return run


def _injector(ctx: Context, task: str) -> Injector:
    injector = injector_of(cast("Mapping[str, Any]", ctx))
    if injector is None:
        raise ConfigurationError(f'{task} has injected parameters, but ctx["injector"] is missing')
    return injector


async def _still_ours(ctx: Context) -> None:
    """To be awaited after what may have taken long, before the function is called: cancelled if another worker has the
    job."""
    if (job := ctx.get("job")) is not None and own_fields(job).offered:
        await decided(job)


def _limit(ctx: Context) -> int:
    return getattr(ctx.get("queue"), "max_payload_bytes", MAX_PAYLOAD_BYTES)


def _ended(ctx: Context, ended: Ended) -> Any:
    """The result of a job that another attempt has ended; raises if it has failed."""
    if ended.error is None:
        return ended.result
    _spend_attempts(ctx)
    raise GiveUp(ended.error)


def _spend_attempts(ctx: Context) -> None:
    """Use up the job's attempts, so that SAQ finishes it as failed instead of retrying."""
    if job := ctx.get("job"):
        job.retries = job.attempts
