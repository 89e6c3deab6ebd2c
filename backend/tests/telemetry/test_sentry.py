"""Sentry: failures with the context of their job, and check-ins of schedules."""

from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.transport import Transport

from saqueduct import Context, Saqueduct, SaqueductConfig, get_registry, scheduled_task, task
from saqueduct.schedules.schedule import Schedule
from saqueduct.telemetry.sentry import monitor_of, slug
from tests.fixtures.poll import eventually

Envelopes = list[dict[str, Any]]


class Collecting(Transport):
    """Keeps what would be sent."""

    sent: Envelopes

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.extend(item.payload.json for item in envelope.items if item.payload.json)


@pytest.fixture
def sent() -> Iterator[Envelopes]:
    """What goes to Sentry; without its integrations, which would patch other packages for good."""
    transport = Collecting()
    transport.sent = []
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1", transport=transport, default_integrations=False,
        auto_enabling_integrations=False, integrations=[DedupeIntegration()],
    )  # fmt: skip
    yield transport.sent
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def tasks() -> Iterator[None]:
    with get_registry().isolated():

        @task(retries=2, retry_delay=0.01)
        async def fails(ctx: Context, *, token: str) -> None:
            raise ValueError(f"attempt {ctx['job'].attempts}")

        @task
        async def fine(ctx: Context) -> None: ...

        @scheduled_task(cron="0 3 * * *", key="Nightly: tidy", timeout=90)
        async def tidy(ctx: Context) -> None: ...

        yield


async def test_a_failure_is_reported_once_with_its_job_and_without_arguments(
    redis_url: str, empty_redis: None, tasks: None, sent: Envelopes
) -> None:
    async with Saqueduct(SaqueductConfig(redis_url=redis_url, records=False)) as saqueduct, saqueduct.working():
        await saqueduct.queues.enqueue("fine", {})
        job = await saqueduct.queues.enqueue("fails", {"token": "hunter2"})
        await eventually(lambda: sent)
    [event] = sent
    assert event["exception"]["values"][-1]["value"] == "attempt 2"
    assert event["tags"] == {"saqueduct.task": "fails", "saqueduct.queue": "default", "saqueduct.job": job.key}
    assert event["contexts"]["job"] == {"key": job.key, "task": "fails", "attempt": 2, "attempts_allowed": 2}
    assert event["transaction"] == "fails"


async def test_a_schedule_checks_in_at_its_start_and_its_end(
    redis_url: str, empty_redis: None, tasks: None, sent: Envelopes
) -> None:
    async with Saqueduct(SaqueductConfig(redis_url=redis_url, records=False)) as saqueduct, saqueduct.working():
        await saqueduct.queues.trigger_schedule("Nightly: tidy")
        await eventually(lambda: len(sent) == 2)
    assert [each["status"] for each in sent] == ["in_progress", "ok"]
    assert {each["monitor_slug"] for each in sent} == {"nightly-tidy"}
    assert len({each["check_in_id"] for each in sent}) == 1
    assert sent[0]["monitor_config"] == {
        "schedule": {"type": "crontab", "value": "0 3 * * *"},
        "timezone": "UTC",
        "max_runtime": 2,
    }


def test_without_an_initialized_sentry_nothing_is_added(redis_url: str, tasks: None) -> None:
    saqueduct = Saqueduct(SaqueductConfig(redis_url=redis_url, records=False))
    [worker] = saqueduct.build_workers()
    assert [hook.__qualname__ for hook in worker.before_process or ()] == ["bind_log_context"]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(every=120.0), {"schedule": {"type": "interval", "value": 2, "unit": "minute"}}),
        (Schedule(every=90.0), None),
        (Schedule(cron="0 3 * * * 30"), None),
        (
            Schedule(cron="@daily", timezone="Europe/Berlin"),
            {"schedule": {"type": "crontab", "value": "0 0 * * *"}, "timezone": "Europe/Berlin"},
        ),
    ],
    ids=["minutes", "seconds", "cron with seconds", "zone"],
)
def test_sentry_gets_the_schedules_that_it_knows(schedule: Schedule, expected: dict[str, Any] | None) -> None:
    assert monitor_of(schedule, "UTC", None) == expected


def test_a_slug_has_only_what_sentry_allows() -> None:
    assert slug("Täglich: Bericht/" + 60 * "x") == "t-glich-bericht-" + 34 * "x"
