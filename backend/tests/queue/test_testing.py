"""The test kit: what is enqueued."""

import asyncio
import datetime as dt
import re
import time
import uuid
from typing import Any

import pytest

from app.emails.tasks import send_email
from app.queue.tasks import my_task, ping
from app.settings import Settings, load_settings
from saqueduct import Context, InvalidArguments, UnknownTask, enqueue_many, task
from saqueduct.testing import JobKit

pytestmark = pytest.mark.usefixtures("own_tasks")

MINUTE, DAY = 60, 24 * 60 * 60


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """Three queues, one of them without worker."""
    return load_settings(environment | {"QUEUE_NAMES": "default,mail,unserved", "WORKER_QUEUES": "default,mail"})


async def test_a_subset_of_the_arguments_is_enough(jobs: JobKit) -> None:
    handle = await send_email.enqueue(to="ada@example.com", subject="Hi", body="Hello")
    assert jobs.assert_enqueued(send_email, to="ada@example.com").key == handle.key
    jobs.assert_enqueued("send_email")
    jobs.refute_enqueued(send_email, to="bob@example.com")
    jobs.refute_enqueued(ping)


async def test_a_failure_lists_what_is_enqueued_instead(jobs: JobKit) -> None:
    began = time.monotonic()
    await ping.options(delay=9000).enqueue()
    handle = await send_email.enqueue(to="ada@example.com", subject="Hi", body="Hello")
    with pytest.raises(AssertionError) as caught:
        jobs.assert_enqueued(send_email, to="bob@example.com")
    message = str(caught.value)
    assert message.startswith("send_email(to='bob@example.com') is not enqueued; enqueued are:\n")
    assert "  send_email(to='ada@example.com', subject='Hi', body='Hello'), queue='default'" in message
    assert f"key={handle.key!r}\n    but to is 'ada@example.com'\n" in message
    assert "  ping(), queue='default'" in message
    due = re.search(r", due in (\d+) s$", message)
    assert due is not None
    assert 8999 - (time.monotonic() - began) <= int(due[1]) <= 9000


async def test_a_failure_does_not_list_thousands(jobs: JobKit) -> None:
    await enqueue_many([my_task.bind(user_id=number) for number in range(50)])
    with pytest.raises(AssertionError, match=r"and 30 more$"):
        jobs.assert_enqueued(ping)


async def test_a_failure_tells_when_nothing_is_enqueued(jobs: JobKit) -> None:
    with pytest.raises(AssertionError, match=r"^ping\(\) is not enqueued; nothing is enqueued$"):
        jobs.assert_enqueued(ping)


async def test_a_refusal_names_the_jobs(jobs: JobKit) -> None:
    handle = await my_task.enqueue(user_id=7)
    with pytest.raises(AssertionError, match=r"my_task\(user_id=7\) is enqueued:\n  my_task") as caught:
        jobs.refute_enqueued(my_task, user_id=7)
    assert handle.key in str(caught.value)
    with pytest.raises(AssertionError, match=r"^any job is enqueued"):
        jobs.refute_enqueued()


@pytest.mark.parametrize("ask", ["assert_enqueued", "refute_enqueued", "all_enqueued"])
async def test_a_misspelt_argument_or_task_is_no_answer(jobs: JobKit, ask: str) -> None:
    with pytest.raises(InvalidArguments, match="too: unknown argument"):
        getattr(jobs, ask)(send_email, too="ada@example.com")
    with pytest.raises(UnknownTask):
        getattr(jobs, ask)("send_emial")


async def test_values_are_compared_as_the_function_gets_them(jobs: JobKit) -> None:
    @task
    async def typed(ctx: Context, *, when: dt.date, ids: list[uuid.UUID], pages: int = 3) -> None: ...

    one = uuid.uuid4()
    await typed.enqueue(when=dt.date(2030, 1, 1), ids=[one])
    jobs.assert_enqueued(typed, when=dt.date(2030, 1, 1), ids=[one], pages=3)
    jobs.assert_enqueued(typed, when="2030-01-01", ids=(str(one),))
    jobs.refute_enqueued(typed, pages=4)
    jobs.refute_enqueued(typed, when=dt.date(2030, 1, 2))


async def test_all_jobs_that_wait_in_the_order_of_their_enqueue(jobs: JobKit) -> None:
    handles = await enqueue_many([my_task.bind(user_id=number) for number in range(20)])
    await ping.enqueue()
    assert [job.key for job in jobs.all_enqueued(my_task)] == [handle.key for handle in handles]
    assert len(jobs.all_enqueued()) == 21
    assert [job.kwargs for job in jobs.all_enqueued(my_task, user_id=2)] == [{"user_id": 2}]


async def test_delayed_jobs_wait_too_and_running_ones_do_not(jobs: JobKit) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    @task
    async def waits(ctx: Context) -> None:
        running.set()
        await go_on.wait()

    await waits.enqueue()
    delayed = await ping.options(delay=MINUTE).enqueue()
    async with jobs.working():
        await running.wait()
        assert [job.key for job in jobs.all_enqueued()] == [delayed.key]
        go_on.set()


async def test_jobs_that_have_ended_are_not_enqueued(jobs: JobKit) -> None:
    await ping.enqueue()
    await jobs.drain()
    assert jobs.all_enqueued() == []


@pytest.mark.parametrize(
    ("given", "asked", "other", "difference"),
    [
        ({"key": "a"}, {"key": "a"}, {"key": "b"}, "key is 'a'"),
        ({"delay": 60}, {"delay": 60}, {"delay": 63}, r"due 6[01]\.\d s after its enqueue"),
        ({}, {}, {"delay": 60}, "due 0 s after its enqueue"),
        ({"retries": 3}, {"retries": 3}, {"retries": 2}, "retries is 3"),
        ({"queue": "mail"}, {"queue": "mail"}, {"queue": "default"}, "queue is 'mail'"),
        ({"queue": "mail"}, {}, {"queue": "unserved"}, "queue is 'mail'"),
        ({"priority": "high"}, {"priority": "high"}, {"priority": "low"}, "priority is -1"),
        ({"expires": 30}, {"expires": 30}, {"expires": 60}, "it expires at"),
        ({}, {}, {"expires": 60}, "it does not expire"),
        ({"meta": {"a": 1, "b": 2}}, {"meta": {"a": 1}}, {"meta": {"a": 2}}, r"meta\['a'\] is 1"),
        ({"keep_result": False}, {"keep_result": False}, {"ttl": 5}, "ttl is -1"),
        (
            {"eta": dt.datetime(2099, 1, 1, tzinfo=dt.UTC)},
            {"eta": dt.datetime(2099, 1, 1, tzinfo=dt.UTC)},
            {"eta": dt.datetime(2099, 1, 2, tzinfo=dt.UTC)},
            "due at 2099-01-01 00:00:00",
        ),
    ],
)
async def test_options_are_asked_for_as_they_are_given(
    jobs: JobKit, given: dict[str, Any], asked: dict[str, Any], other: dict[str, Any], difference: str
) -> None:
    await ping.options(**given).enqueue()
    jobs.assert_enqueued(ping.options(**asked))
    with pytest.raises(AssertionError, match=difference):
        jobs.assert_enqueued(ping.options(**other))


async def test_a_delay_is_known_after_a_journey_and_within_one(jobs: JobKit) -> None:
    await ping.options(delay=DAY, key="before").enqueue()
    jobs.travel(MINUTE)
    await ping.options(delay=DAY, key="within").enqueue()
    for key in ("before", "within"):
        jobs.assert_enqueued(ping.options(delay=DAY, key=key))
        jobs.refute_enqueued(ping.options(delay=DAY + MINUTE * 2, key=key))


def test_assertions_need_no_event_loop(jobs: JobKit) -> None:
    jobs.refute_enqueued(ping)
    assert jobs.all_enqueued() == []
