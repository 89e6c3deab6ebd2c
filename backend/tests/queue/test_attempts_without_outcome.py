"""Attempts for which no outcome can be built, and odd errors: the slot becomes free, and the attempt counts."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from saq.job import Status

from saqueduct import Context, EngineQueue, task
from saqueduct.broker.connections import Connections
from saqueduct.tasks.rules import TaskRules, attach
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.queue.kit import is_empty, one_slot

pytestmark = pytest.mark.usefixtures("only_own_tasks")


class Odd(BaseException):
    """What `except Exception` does not catch."""


async def _spoils_meta(ctx: Context) -> None:
    ctx["job"].meta |= {"kept": 1, "spoilt": object()}


async def _returns_an_object(ctx: Context) -> Any:
    return object()


async def _raises_oddly(ctx: Context) -> None:
    raise Odd


async def _spoils_its_retries(ctx: Context) -> None:
    ctx["job"].retries = cast("Any", "3")
    raise ValueError("no use")


async def _spoils_its_ttl(ctx: Context) -> None:
    ctx["job"].ttl = cast("Any", object())


async def _spoils_its_priority(ctx: Context) -> None:
    ctx["job"].priority = cast("Any", "high")


async def _fails(ctx: Context) -> None:
    raise ValueError("no use")


def _rule_that_fails(error: BaseException) -> bool:
    raise RuntimeError("the rule fails")


attach(_fails, TaskRules(retries_after=_rule_that_fails))


@pytest.fixture
async def plain(redis_url: str, empty_redis: None) -> AsyncIterator[EngineQueue]:
    """A queue that knows no tasks, as SAQ's."""
    queue = EngineQueue(Connections(redis_url).client("default"))
    yield queue
    await queue.disconnect()


@pytest.mark.parametrize(
    ("function", "attempts", "meta"),
    [
        (_spoils_meta, 2, {"kept": 1}),
        (_returns_an_object, 2, {}),
        (_raises_oddly, 2, {}),
        (_spoils_its_retries, 1, {}),
        (_fails, 1, {}),
        (_spoils_its_ttl, 2, {}),
        (_spoils_its_priority, 2, {}),
    ],
)
async def test_an_attempt_without_an_outcome_leaves_its_slot(
    plain: EngineQueue, function: Any, attempts: int, meta: Any
) -> None:
    async def harmless(ctx: Context) -> None: ...

    await plain.enqueue(function.__qualname__, key="bad", retries=2, ttl=60)
    await plain.enqueue(harmless.__qualname__, key="good")
    async with one_slot(plain, function, harmless):
        await eventually(lambda: is_empty(plain))
    bad, good = await plain.jobs(["bad", "good"])
    assert good is not None
    assert good.status is Status.COMPLETE
    assert bad is not None
    assert (bad.status, bad.result, bad.attempts, bad.meta) == (Status.FAILED, None, attempts, meta)


class _HasNoTruth(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError("no use to ask")


def _raises_what_has_no_truth() -> None:
    raise _HasNoTruth


def _raises_generator_exit() -> None:
    raise GeneratorExit


async def _awaits_generator_exit() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(GeneratorExit())
    await future


async def _awaits_generator_exit_of_a_thread() -> None:
    await asyncio.to_thread(_raises_generator_exit)


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        (_raises_what_has_no_truth, "_HasNoTruth"),
        (_raises_generator_exit, "GeneratorExit"),
        (_awaits_generator_exit, "GeneratorExit"),
        (_awaits_generator_exit_of_a_thread, "GeneratorExit"),
    ],
)
@pytest.mark.parametrize("plain_function", [False, True])
async def test_each_attempt_that_raises_an_odd_error_counts_and_leaves_its_slot(
    jobs: JobKit, own_tasks: None, fails: Any, error: str, plain_function: bool
) -> None:
    runs: list[int] = []

    async def in_the_loop(ctx: Context) -> None:
        runs.append(1)
        if awaited := fails():
            await awaited

    def in_a_thread(ctx: Context) -> Any:
        runs.append(1)
        return fails()

    job = await jobs.run(task(retries=2)(in_a_thread if plain_function else in_the_loop))
    assert (len(runs), job.status) == (2, Status.FAILED)
    assert error in (job.error or "")


async def test_a_filter_of_logging_that_raises_costs_no_job(
    jobs: JobKit, own_tasks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise LookupError("the filter fails")

    @task(retries=2)
    async def fails(ctx: Context) -> None:
        raise ValueError("the cause")

    monkeypatch.setattr(logging.getLogger("saqueduct.worker"), "filters", [refuse])
    job = await jobs.run(fails)
    assert (job.status, job.attempts) == (Status.FAILED, 2)
    assert "the cause" in (job.error or "")
