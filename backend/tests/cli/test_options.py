"""What people type: durations, times, arguments."""

import datetime as dt

import click
import pytest

from saqueduct.cli import output
from saqueduct.cli.options import Duration, Moment, Pair


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("7d", 604800),
        ("2w", 1209600),
        ("50ms", 0.05),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "5x", "-5m", "5m ago", "1h 30m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no duration"):
        Duration().convert(text, None, None)


def test_times_are_before_now_or_iso() -> None:
    now = dt.datetime.now(dt.UTC)
    assert abs(Moment().convert("2h", None, None) - (now - dt.timedelta(hours=2))) < dt.timedelta(seconds=5)
    noon = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    for text in ("2026-05-01T12:00Z", "2026-05-01T14:00+02:00", noon.astimezone().strftime("%Y-%m-%d %H:%M")):
        assert Moment().convert(text, None, None) == noon
    for text in ("yesterday", "2026-13-01", "99999999w"):
        with pytest.raises(click.BadParameter, match="neither a duration"):
            Moment().convert(text, None, None)


def test_pairs_need_a_name() -> None:
    assert Pair().convert("a=b=c", None, None) == ("a", "b=c")
    for text in ("a", "=b"):
        with pytest.raises(click.BadParameter, match="not of the form"):
            Pair().convert(text, None, None)


def test_times_are_shown_in_the_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        this_year = dt.datetime.now().astimezone().year
        assert output.when(dt.datetime(this_year, 3, 1, 12, tzinfo=dt.UTC)) == "Mar 01 21:00:00 JST"
        assert output.when(dt.datetime(2019, 3, 1, 20, tzinfo=dt.UTC)) == "2019-03-02 05:00 JST"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0ms"),
        (0.04, "40ms"),
        (1.234, "1.23s"),
        (59.0, "59s"),
        (90, "1m 30s"),
        (7500, "2h 5m"),
        (90061, "1d 1h"),
    ],
)
def test_durations_are_shown_in_two_units(seconds: float, text: str) -> None:
    assert output.lasting(seconds) == text
