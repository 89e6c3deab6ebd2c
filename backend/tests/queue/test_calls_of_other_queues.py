"""Lines that people bring along from guides and from Celery, as they are written there."""

import asyncio
import datetime as dt
from typing import Any, cast

import httpx
import pytest
from dishka import AsyncContainer
from litestar import Litestar, post
from litestar_saq import TaskQueues
from saq.job import Status

from app.emails.tasks import send_email
from app.main import create_app
from app.settings import Settings
from app.users.tasks import cleanup_sessions, send_welcome_email
from saqueduct import Context, Queues, RegistrationError, crontab, get_registry, scheduled_task, task
from saqueduct.blocking import CalledInEventLoop
from saqueduct.testing import JobKit
from tests.conftest import running
from tests.queue.kit import status, working
from tests.users.accounts import register

# Calls


@pytest.mark.usefixtures("container")
async def test_a_task_is_called_by_delay_with_arguments_by_position(queues: Queues) -> None:
    def calls() -> str:
        return send_email.delay("a@example.com", "Subject", "Body").id

    job = await queues.find(await asyncio.to_thread(calls))
    assert job.kwargs == {"to": "a@example.com", "subject": "Subject", "body": "Body"}


@pytest.mark.usefixtures("container")
async def test_a_task_is_called_by_apply_async_with_a_list_of_arguments(queues: Queues) -> None:
    def calls() -> str:
        return send_email.apply_async(args=["a@example.com", "Subject", "Body"], countdown=60).id

    job = await queues.find(await asyncio.to_thread(calls))
    assert job.kwargs == {"to": "a@example.com", "subject": "Subject", "body": "Body"}


@pytest.mark.usefixtures("container")
async def test_delay_in_an_event_loop_names_what_to_await() -> None:
    with pytest.raises(CalledInEventLoop, match=r"task.enqueue"):
        send_email.delay("a@example.com", "Subject", "Body")


async def test_a_direct_call_in_a_test_has_injected_what_it_leaves_out(
    client: httpx.AsyncClient, container: AsyncContainer
) -> None:
    user_id = await register(client)
    mock_queue: Any = None
    context: Any = {"queue": mock_queue}
    assert await send_welcome_email(context, user_id=user_id) == {"status": "sent"}


async def test_cleanup_sessions_takes_zero_days(jobs: JobKit) -> None:
    job = await jobs.run(cleanup_sessions, days_old=0)
    assert job.status is Status.COMPLETE


# Handlers


# Litestar's older way to declare parameters, as guides write it.
@pytest.mark.filterwarnings("ignore:.*Inferred dependency field 'task_queues'")
@pytest.mark.filterwarnings("ignore:.*declared using deprecated inferred style")
async def test_a_handler_that_answers_with_saqs_job_id_gives_what_jobs_finds(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @post("/guide")
    async def process(task_queues: TaskQueues, user_id: int) -> dict[str, str]:
        job = await task_queues.get("default").enqueue("my_task", user_id=user_id)
        assert job is not None
        return {"job_id": job.id}

    application: Litestar = create_app(settings)
    application.register(process)
    transport = httpx.ASGITransport(cast("Any", application))
    async with running(application), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.post("/guide", params={"user_id": 7})
        job_id = answer.json()["job_id"]
        assert job_id.startswith("saq:job:default:")
        found = (await client.get(f"/jobs/{job_id}")).json()
        assert (found["task"], job_id.endswith(found["job_id"])) == ("my_task", True)
        assert (await client.delete(f"/jobs/{job_id}")).status_code == 202
        assert (await client.post(f"/jobs/{job_id}/retry")).json()["status"] == "queued"
    async with working(settings, queues, container, schedules=False):
        job = await status(queues, await queues.find(job_id), Status.COMPLETE)
    assert job.result == {"status": "success", "user_id": 7}


# Schedules


@pytest.fixture
def only_here() -> Any:
    with get_registry().isolated() as registry:
        yield registry


@pytest.mark.usefixtures("only_here")
def test_a_schedule_takes_arguments_by_position() -> None:
    @scheduled_task(cron="0 3 * * *", args=[30])
    async def cleanup(ctx: Context, days_old: int = 7) -> None: ...

    assert [dict(schedule.kwargs) for schedule in cleanup.schedules] == [{"days_old": 30}]


@pytest.mark.usefixtures("only_here")
@pytest.mark.parametrize(
    ("args", "words"), [([30, 2], "2 were given by position, only days_old can be"), ("30", "args takes a list")]
)
def test_a_schedules_arguments_by_position_must_fit(args: Any, words: str) -> None:
    with pytest.raises(RegistrationError, match=words):

        @scheduled_task(cron="0 3 * * *", args=args)
        async def cleanup(ctx: Context, days_old: int = 7) -> None: ...


@pytest.mark.usefixtures("only_here")
@pytest.mark.parametrize(
    ("cron", "fields"),
    [
        ("@daily", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("@weekly", "0 0 * * 0"),
        ("0 9 * * monday-friday", "0 9 * * mon-fri"),
        ("0 9 1 January,july *", "0 9 1 jan,jul *"),
        ("0  3 * * sun", "0 3 * * sun"),
        (crontab(hour=3, minute=0, day_of_week="sunday"), "0 3 * * sun"),
        (crontab(minute=0, hour=0, day_of_week=["monday", "thursday"]), "0 0 * * mon,thu"),
    ],
)
def test_a_cron_may_be_written_in_words(cron: str, fields: str) -> None:
    @scheduled_task(cron=cron)
    async def job(ctx: Context) -> None: ...

    assert [schedule.cron for schedule in job.schedules] == [fields]


@pytest.mark.usefixtures("only_here")
def test_an_interval_may_be_a_timedelta() -> None:
    @scheduled_task(every=dt.timedelta(minutes=5))
    async def job(ctx: Context) -> None: ...

    assert [schedule.interval for schedule in job.schedules] == [300.0]


@pytest.mark.usefixtures("only_here")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cron": 60.0}, r"for an interval give every=60\.0"),
        ({"cron": dt.timedelta(seconds=60)}, r"for an interval give every=datetime\.timedelta"),
        ({"cron": ["0 3 * * *"]}, "cron takes an expression"),
        ({"cron": "@reboot"}, "enqueue a job when the application starts"),
        ({"cron": "@fortnightly"}, "there are @yearly"),
        ({"cron": "R * * * *"}, "draws a value at random"),
        ({"cron": "H(0-5) * * * *"}, "draws a value at random"),
        ({"cron": "0 0 1 1 * 0 2020"}, "a seventh field, a year"),
        ({"cron": "*/90 * * * *"}, "a step of 90 is more than the 60 values of the minute"),
        ({"cron": "0 0-23/36 * * *"}, "a step of 36 is more than the 24 values of the hour"),
        ({"cron": "0 0 * * funday"}, "is not a cron expression"),
        ({"every": "60"}, r"every takes seconds, such as every=60\.0, or a timedelta"),
        ({"every": True}, r"every takes seconds"),
        ({"every": dt.timedelta(0)}, "at least 0.1 seconds"),
    ],
)
def test_a_timing_that_cannot_be_read_names_the_remedy(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RegistrationError, match=words):

        @scheduled_task(**options)
        async def job(ctx: Context) -> None: ...


# Options


@pytest.mark.usefixtures("only_here")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cron": "0 3 * * *"}, "decorate with @scheduled_task"),
        ({"every": 60}, "decorate with @scheduled_task"),
        ({"max_retries": 3}, "'max_retries': give retries, which counts attempts in all"),
        ({"default_retry_delay": 5}, "give retry_delay=seconds"),
        ({"autoretry_for": (OSError,)}, "give retry_on="),
        ({"acks_late": True}, "at_most_once=True forbids that"),
        ({"bind": True}, "the first parameter is always ctx"),
        ({"queue_name": "x"}, "give queue="),
        ({"retrys": 3}, "did you mean 'retries'"),
        ({"zzzzz": 3}, "there are at_most_once, debounce, durable"),
        ({"timeout": dt.timedelta(minutes=1)}, "timeout takes seconds.*give 60"),
        ({"timeout": "10"}, "timeout must be a number"),
        ({"retries": None}, "retries must be a number"),
    ],
)
def test_an_unknown_or_wrong_option_names_what_says_the_same_here(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RegistrationError, match=words):

        @task(**options)
        async def job(ctx: Context) -> None: ...


@pytest.mark.usefixtures("only_here")
def test_no_timeout_may_be_written_as_none() -> None:
    @task(timeout=None)
    async def job(ctx: Context) -> None: ...

    assert (job.defaults.timeout, job.job({}).timeout) == (0, 0)


@pytest.mark.usefixtures("only_here")
@pytest.mark.parametrize(
    ("options", "words"),
    [({"countdown": 5}, "give delay=seconds"), ({"task_id": "x"}, r"give key=\.\.\."), ({"dely": 5}, "'delay'")],
)
def test_an_unknown_option_of_a_call_names_what_says_the_same_here(options: dict[str, Any], words: str) -> None:
    @task
    async def job(ctx: Context) -> None: ...

    with pytest.raises(ValueError, match=words):
        job.options(**options)


@pytest.mark.usefixtures("only_here")
def test_too_many_arguments_by_position_are_reported_with_the_names_to_use() -> None:
    @task
    async def job(ctx: Context, a: int, *, b: int) -> None: ...

    with pytest.raises(Exception, match="2 were given by position, only a can be; give by name: b="):
        job.signature.bind((1, 2), {})
