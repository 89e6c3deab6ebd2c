"""Schedules: their declaration, their ticks, and summer time."""

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest

from saqueduct import Context, RegistrationError, Schedule, TaskRegistry, crontab, get_registry, scheduled_task, task

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def registry() -> Iterator[TaskRegistry]:
    with get_registry().isolated() as registry:
        yield registry


def ticks(schedule: Schedule, start: dt.datetime, count: int, zone: dt.tzinfo = BERLIN) -> list[str]:
    """The next ticks as the wall clock shows them, with the offset from UTC."""
    moment, found = start.timestamp(), []
    for _ in range(count):
        moment = schedule.next_tick(moment, zone)
        found.append(dt.datetime.fromtimestamp(moment, zone).strftime("%d %H:%M%z"))
    return found


# Summer time: forward on 2026-03-29 at 02:00, back on 2026-10-25 at 03:00.

SPRING = dt.datetime(2026, 3, 28, 23, 10, tzinfo=BERLIN)
AUTUMN = dt.datetime(2026, 10, 24, 23, 10, tzinfo=BERLIN)


def test_a_time_that_the_clocks_leave_out_is_due_when_they_do() -> None:
    assert ticks(Schedule("30 2 * * *"), SPRING, 2) == ["29 03:00+0200", "30 02:30+0200"]
    assert ticks(Schedule("15,30 2 * * *"), SPRING, 2) == ["29 03:00+0200", "30 02:15+0200"]


def test_a_time_that_comes_twice_is_due_the_first_time() -> None:
    assert ticks(Schedule("30 2 * * *"), AUTUMN, 2) == ["25 02:30+0200", "26 02:30+0100"]


def test_what_runs_hourly_runs_every_hour_that_passes() -> None:
    hourly = Schedule("30 * * * *")
    assert ticks(hourly, SPRING, 4) == ["28 23:30+0100", "29 00:30+0100", "29 01:30+0100", "29 03:30+0200"]
    assert ticks(hourly, AUTUMN, 6)[2:] == ["25 01:30+0200", "25 02:30+0200", "25 02:30+0100", "25 03:30+0100"]


def test_other_times_of_those_days_are_as_the_clock_shows() -> None:
    assert ticks(Schedule("0 3 * * *"), SPRING, 2) == ["29 03:00+0200", "30 03:00+0200"]
    assert ticks(Schedule("0 3 * * *"), AUTUMN, 2) == ["25 03:00+0100", "26 03:00+0100"]
    assert ticks(Schedule("*/20 2 * * *"), AUTUMN, 4)[2:] == ["25 02:40+0200", "25 02:00+0100"]


def test_a_schedule_may_have_a_zone_of_its_own() -> None:
    noon = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    assert ticks(Schedule("0 3 * * *", timezone="Europe/Berlin"), noon, 1, dt.UTC) == ["02 01:00+0000"]
    assert ticks(Schedule("0 3 * * *"), noon, 1, dt.UTC) == ["02 03:00+0000"]


def test_years_may_lie_between_two_ticks() -> None:
    schedule = Schedule("0 12 29 2 *")
    tick = schedule.next_tick(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp(), BERLIN)
    assert dt.datetime.fromtimestamp(tick, BERLIN) == dt.datetime(2028, 2, 29, 12, tzinfo=BERLIN)


# Intervals


def test_the_ticks_of_an_interval_are_multiples_of_it() -> None:
    schedule = Schedule(every=90.0)
    assert [schedule.next_tick(moment, dt.UTC) for moment in (0.0, 89.9, 90.0, 91.0)] == [90.0, 90.0, 180.0, 180.0]


@pytest.mark.parametrize("every", [0.1, 0.3, 0.7, 1.1, 60.0])
def test_each_tick_of_an_interval_comes_after_the_one_before(every: float) -> None:
    schedule, moment = Schedule(every=every), 1_790_000_000.0
    for _ in range(1000):
        tick = schedule.next_tick(moment, dt.UTC)
        assert 0 < tick - moment <= every + 0.0011
        moment = tick


@pytest.mark.parametrize(
    ("cron", "seconds", "latest"),
    [("* * * * * *", 5_000_000, 5_000_000), ("*/5 * * * *", 86_400 * 3 + 299, 86_400 * 3), ("0 0 * * *", 100, 0)],
)
def test_of_many_ticks_that_have_passed_the_latest_is_found(cron: str, seconds: int, latest: int) -> None:
    midnight = dt.datetime(2026, 5, 1, tzinfo=dt.UTC).timestamp()
    assert Schedule(cron).latest_tick(midnight, midnight + seconds, dt.UTC) == midnight + latest


# Declaration


def test_crontab_has_the_names_of_celery() -> None:
    assert crontab() == "* * * * *"
    assert crontab(minute=30, hour="9-17", day_of_week="mon-fri") == "30 9-17 * * mon-fri"
    assert crontab(minute=0, hour=[6, 18], day_of_month=1, month_of_year="*/3") == "0 6,18 1 */3 *"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either a cron or an interval"),
        ({"schedule": "0 3 * * *"}, "there is no option 'schedule': decorate with @scheduled_task\\(cron="),
        ({"crn": "0 3 * * *"}, "there is no option 'crn'"),
        ({"cron": "* * * * *", "every": 60.0}, "either a cron or an interval"),
        ({"every": 0.01}, r"every must be at least 0\.1 seconds, not 0\.01"),
        ({"every": float("inf")}, "every must be at least"),
        ({"every": float("nan")}, "every must be at least"),
        ({"cron": "0 0 30 2 *"}, "never comes due"),
        ({"cron": "0 3 * * *", "timezone": "Berlin"}, "'Berlin' is not a time zone"),
        ({"cron": "0 3 * * *", "timezone": "../etc"}, "is not a time zone"),
        ({"every": 60.0, "timezone": "Europe/Berlin"}, "timezone goes with cron"),
        ({"cron": "0 3 * * *", "catch_up": "all"}, 'catch_up must be "once" or "skip", not \'all\''),
        ({"every": 60.0, "key": 5}, "key takes a text, such as key='weekly', not 5"),
        ({"every": 60.0, "key": "a\ud800"}, "key: .* a lone surrogate"),
        ({"every": 60.0, "key": "a" * 401}, "has 401 characters"),
        ({"every": 60.0, "kwargs": 5}, "kwargs takes arguments by name"),
        ({"cron": "0 3 * * *", "overlap": "no"}, 'overlap must be "skip" or "queue", not \'no\''),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_at_its_line(
    registry: TaskRegistry, options: dict[str, object], words: str
) -> None:
    with pytest.raises(RegistrationError, match=words) as caught:

        @scheduled_task(**options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        async def job(ctx: Context) -> None: ...

    assert caught.value.where.startswith(f"{__file__}:")
    assert len(registry) == 0


def test_a_function_may_have_several_schedules(registry: TaskRegistry) -> None:
    @scheduled_task(cron="0 9 * * mon", key="weekly", kwargs={"days": 7})
    @scheduled_task(every=60.0, timeout=20)
    async def report(ctx: Context, *, days: int = 1) -> None: ...

    assert [(s.key, s.timing, dict(s.kwargs)) for s in report.schedules] == [
        ("report", "every 60.0 s", {}),
        ("weekly", "0 9 * * mon", {"days": 7}),
    ]
    assert report.defaults.timeout == 20
    assert registry.get("report") is report
    assert [cron.cron for cron in registry.get_all_scheduled_tasks()] == ["0 9 * * mon"]


def test_a_plain_task_may_get_schedules() -> None:
    @scheduled_task(every=60.0)
    @task(retries=4)
    async def report(ctx: Context) -> None: ...

    assert (report.defaults.retries, len(report.schedules)) == (4, 1)


def test_two_schedules_do_not_share_a_key(registry: TaskRegistry) -> None:
    @task
    async def report(ctx: Context) -> None: ...

    again = scheduled_task(every=60.0)
    again(report)
    with pytest.raises(RegistrationError, match="two schedules have the key 'report'"):
        again(report)
    with pytest.raises(RegistrationError, match="has the key 'report' already"):

        @scheduled_task(every=60.0, key="report")
        async def other(ctx: Context) -> None: ...

    @task
    async def third(ctx: Context) -> None: ...

    with pytest.raises(RegistrationError, match="has the key 'report' already"):
        scheduled_task(every=60.0, key="report")(third)
    assert (len(report.schedules), third.schedules) == (1, ())
    assert "other" not in registry


def test_options_belong_next_to_the_function() -> None:
    @task
    async def report(ctx: Context) -> None: ...

    with pytest.raises(RegistrationError, match="give name, timeout to the decorator next to the function"):
        scheduled_task(every=60.0, name="x", timeout=3)(report)
    assert report.schedules == ()
