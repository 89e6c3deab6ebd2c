"""Alerts: reported once, and once when they are over, by one of all processes."""

import asyncio
import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from saqueduct import ConfigurationError, Saqueduct, SaqueductConfig
from saqueduct.common import clock
from saqueduct.common.secret import Secret
from saqueduct.telemetry.alerts import Alert
from saqueduct.telemetry.alerts.channels import Function, Mail, Webhook
from saqueduct.telemetry.alerts.conditions import failure_counts
from saqueduct.telemetry.alerts.watcher import AlertWatcher
from saqueduct.telemetry.system_state import RedisState, SystemReader
from saqueduct.worker.ticker import Ticker
from tests.fixtures.poll import eventually
from tests.fixtures.ports import free_port
from tests.fixtures.smtp import smtp_server
from tests.fixtures.webhook import webhook
from tests.telemetry.conftest import Open

Watch = Callable[..., AlertWatcher]


@pytest.fixture
def seen() -> list[Alert]:
    return []


@pytest.fixture
def watch(seen: list[Alert]) -> Watch:
    """Makes the watcher of one process; alerts go to `seen`."""

    def made(saqueduct: Saqueduct, *channels: Any) -> AlertWatcher:
        store = saqueduct.store
        system = SystemReader(saqueduct.queues, None if store is None else store.sessions)
        return AlertWatcher(saqueduct.queues, system, channels or [Function(seen.append)], "production")

    return made


def brief(alerts: list[Alert]) -> list[tuple[str, str, bool]]:
    return [(alert.name, alert.subject, alert.resolved) for alert in alerts]


async def test_a_condition_is_reported_once_when_it_has_lasted_and_once_when_it_is_over(
    measured: Saqueduct, watch: Watch, seen: list[Alert]
) -> None:
    watcher, queue = watch(measured), measured.queues.get("default")
    job = await measured.queues.enqueue("add", {"a": 1, "b": 2})
    await watcher.look()
    assert seen == []
    with clock.shifted(61):
        for _ in range(2):
            await watcher.look()
        assert brief(seen) == [("no_workers", "default", False)]
        assert seen[0].severity == "critical"
        assert seen[0].summary == "The queue default has no live worker; jobs that wait or run: 1"
        await queue.abort(await measured.queues.find(job.key), "test")
        for _ in range(2):
            await watcher.look()
        assert brief(seen) == [("no_workers", "default", False), ("no_workers", "default", True)]


async def test_what_ends_before_it_has_lasted_is_not_reported(
    measured: Saqueduct, watch: Watch, seen: list[Alert]
) -> None:
    watcher, queue = watch(measured), measured.queues.get("default")
    job = await measured.queues.enqueue("add", {"a": 1, "b": 2})
    await watcher.look()
    await queue.abort(await measured.queues.find(job.key), "test")
    await watcher.look()
    await measured.queues.enqueue("add", {"a": 1, "b": 2})
    with clock.shifted(59):
        await watcher.look()
        assert seen == []


async def test_one_of_all_processes_reports_and_another_continues_when_it_is_silent(
    measured: Saqueduct, watch: Watch, seen: list[Alert]
) -> None:
    first, second = watch(measured), watch(measured)
    await measured.queues.enqueue("add", {"a": 1, "b": 2})
    await first.look()
    with clock.shifted(59):
        await first.look()
        await second.look()
    with clock.shifted(118):
        await second.look()
        assert seen == []
        await first.look()
        assert brief(seen) == [("no_workers", "default", False)]
    with clock.shifted(300):
        await second.look()
        await first.look()
        # Its own look at the end of the outage of the first: what has been reported stays reported.
        assert brief(seen) == [("no_workers", "default", False)]
        await measured.queues.get("default").pause(by="tests")
        await first.look()
        assert brief(seen) == [("no_workers", "default", False)]
        await second.look()
        assert brief(seen)[1:] == [("no_workers", "default", True)]


async def test_a_channel_that_fails_is_tried_again_and_others_do_not_report_twice(
    measured: Saqueduct, watch: Watch, seen: list[Alert], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Function):
        name = "broken"

    works = False
    late: list[Alert] = []

    def fail(alert: Alert) -> None:
        if not works:
            raise ConnectionError("not now")
        late.append(alert)

    watcher = watch(measured, Broken(fail), Function(seen.append))
    await measured.queues.enqueue("add", {"a": 1, "b": 2})
    await watcher.look()
    with clock.shifted(61):
        for _ in range(2):
            await watcher.look()
        assert brief(seen) == [("no_workers", "default", False)]
        assert caplog.text.count("not now") == 1
        works = True
        await watcher.look()
        assert brief(late) == brief(seen) == [("no_workers", "default", False)]


async def test_a_pause_of_an_hour_is_reported_with_who_paused(
    measured: Saqueduct, watch: Watch, seen: list[Alert]
) -> None:
    await measured.queues.get("default").pause(by="ann", why="deploy")
    watcher = watch(measured)
    with clock.shifted(3599):
        await watcher.look()
        assert seen == []
    with clock.shifted(3602):
        await watcher.look()
        [alert] = seen
        assert alert.summary == "The queue default has been paused by ann for more than an hour"
        assert alert.remedy == "Resume it: saqueduct queues resume default"


async def test_a_schedule_whose_tick_is_overdue_is_reported(
    measured: Saqueduct, watch: Watch, seen: list[Alert]
) -> None:
    queue = measured.queues.get("default")
    await Ticker(queue, measured.registry.get_all_tasks(), dt.UTC).declare()
    await queue.redis.zadd(queue.namespace("schedules:ticks"), {"tidy": await queue.time()})
    watcher = watch(measured)
    with clock.shifted(100):
        await watcher.look()
    with clock.shifted(170):
        await watcher.look()
        assert brief(seen) == [("overdue", "tidy", False)]


async def test_failing_jobs_and_new_dead_letters_are_reported(
    measured: Saqueduct, watch: Watch, seen: list[Alert]
) -> None:
    watcher = watch(measured)
    async with measured.working():
        await watcher.look()
        for _ in range(10):
            await measured.queues.enqueue("gives_up", {})
        await eventually(lambda: _are_known(measured, 10))
        for later in (100, 170):
            with clock.shifted(later):
                await watcher.look()
    by_name = {alert.name: alert for alert in seen}
    assert by_name["failures"].summary == "More than a tenth of the jobs of the queue default fail"
    assert by_name["dead_letters"].summary == "New dead letters in the queue default within 15 minutes: 10"


async def _are_known(saqueduct: Saqueduct, failures: int) -> bool:
    """True when the workers have reported so many failures, and there are as many dead letters."""
    reports = await saqueduct.queues.get("default").reader.live_workers()
    counts = failure_counts({worker: json.loads(report) for worker, report in reports.items()})
    assert saqueduct.store is not None
    letters = (await SystemReader(saqueduct.queues, saqueduct.store.sessions).database()).dead_letters
    return sum(failed for _, failed in counts.values()) == failures and letters == {"default": failures}


async def test_postgresql_that_is_away_is_reported(open_measured: Open, watch: Watch, seen: list[Alert]) -> None:
    async with open_measured() as saqueduct:
        broken = SystemReader(saqueduct.queues, _no_sessions)
        watcher = AlertWatcher(saqueduct.queues, broken, [Function(seen.append)], "production")
        await watcher.look()
        with clock.shifted(61):
            await watcher.look()
        assert brief(seen) == [("postgresql_down", "postgresql", False)]


def _no_sessions() -> Any:
    raise ConnectionError("away")


async def test_redis_that_is_away_is_reported_by_the_process_that_watched_last(
    measured: Saqueduct, watch: Watch, seen: list[Alert], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = watch(measured), watch(measured)
    await first.look()
    await second.look()
    with monkeypatch.context() as patch:
        patch.setattr(SystemReader, "redis", _away)
        await first.look()
        with clock.shifted(59):
            await first.look()
            await second.look()
        assert seen == []
        with clock.shifted(61):
            for _ in range(2):
                await first.look()
                await second.look()
        assert brief(seen) == [("redis_down", "redis", False)]
    await second.look()
    await first.look()
    assert brief(seen)[1:] == [("redis_down", "redis", True)]


async def _away(_: SystemReader) -> RedisState:
    return RedisState(up=False)


ALERT = Alert("latency", "mails", "warning", "The oldest job of the queue mails has waited for 90 s", "Start more workers.", 0.0, False, "production")  # fmt: skip  # noqa: E501


async def test_a_webhook_gets_json_with_a_text_for_slack() -> None:
    async with webhook() as server:
        await Webhook(Secret(server.url)).send(ALERT)
    assert [json.loads(body) for _, body in server.posts] == [
        {
            "text": "[production] warning: The oldest job of the queue mails has waited for 90 s\nStart more workers.",
            "status": "firing",
            "name": "latency",
            "subject": "mails",
            "severity": "warning",
            "summary": "The oldest job of the queue mails has waited for 90 s",
            "remedy": "Start more workers.",
            "since": "1970-01-01T00:00:00+00:00",
            "environment": "production",
        }
    ]


async def test_a_webhook_that_refuses_or_is_away_is_an_error_without_its_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with webhook(404) as server:
        with pytest.raises(ConnectionError, match=r"^127.0.0.1 answered 404$"):
            await Webhook(Secret(server.url)).send(ALERT)
    with pytest.raises(ConnectionError, match=r"^127.0.0.1: ConnectError$"):
        await Webhook(Secret(f"http://127.0.0.1:{free_port()}/T0/secret")).send(ALERT)
    assert "secret" not in caplog.text


async def test_a_mail_has_the_summary_as_its_subject() -> None:
    async with smtp_server() as server:
        mail = Mail(Secret(f"smtp://127.0.0.1:{server.port}"), "Saqueduct <a@example.com>", ["b@example.com"])
        await mail.send(ALERT)
    [message] = server.mails
    assert message["To"] == "b@example.com"
    assert message["Subject"] == "[production] warning: The oldest job of the queue mails has waited for 90 s"
    assert "Start more workers." in message.get_content()


async def test_a_subject_stays_one_line_whatever_a_person_wrote() -> None:
    alert = dataclasses.replace(ALERT, summary="paused by ann\r\nBcc: c@example.com" + 300 * "x")
    async with smtp_server() as server:
        mail = Mail(Secret(f"smtp://127.0.0.1:{server.port}"), "Saqueduct <a@example.com>", ["b@example.com"])
        await mail.send(alert)
    [message] = server.mails
    assert message["Subject"].startswith("[production] warning: paused by ann Bcc: c@example.comxxx")
    assert message["Bcc"] is None


async def test_a_worker_process_watches_and_stops(open_measured: Open, seen: list[Alert]) -> None:
    async def take(alert: Alert) -> None:
        seen.append(alert)

    async with open_measured(alert_function=take) as saqueduct:
        assert saqueduct.alerts is not None
        await saqueduct.queues.get("default").pause(by="ann")
        with clock.shifted(3700):
            async with saqueduct.working():
                await eventually(lambda: brief(seen) == [("paused", "default", False)])


async def test_it_stops_although_a_call_swallows_its_cancellation(
    measured: Saqueduct, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def swallow(_: SystemReader) -> RedisState:
        asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return RedisState(up=False)

    monkeypatch.setattr(SystemReader, "redis", swallow)
    async with asyncio.timeout(30):
        async with watch(measured).watching():
            await asked.wait()


def test_without_a_channel_nothing_watches(redis_url: str) -> None:
    assert Saqueduct(SaqueductConfig(redis_url=redis_url, records=False)).alerts is None


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"alert_webhook": "slack.example.com/secret"}, "alert_webhook must be a URL that starts with http"),
        ({"alert_mail_to": ["ops@example.com"]}, "alert_mail_to needs alert_smtp_url"),
        ({"alert_mail_to": "ops@example.com"}, "alert_mail_to takes mail addresses in a list"),
        ({"alert_mail_to": ["ops"]}, "alert_mail_to takes mail addresses in a list"),
        ({"alert_smtp_url": "imap://host"}, "alert_smtp_url must be a URL that starts with smtp"),
        ({"alert_function": "print"}, "alert_function takes a function, not 'print'"),
    ],
    ids=["webhook", "no server", "no list", "no address", "scheme", "no function"],
)
def test_a_wrong_setting_is_refused_without_its_secret(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SaqueductConfig(redis_url="redis://unused", **settings)
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)
