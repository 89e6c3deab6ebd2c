"""A misspelled name is answered with the name that was meant."""

from collections.abc import Callable
from typing import Any

import pytest

from saqueduct import (
    CallOptions,
    ConfigurationError,
    SaqueductConfig,
    Schedule,
    TaskOptions,
    Unique,
    UnknownQueue,
    UnknownSchedule,
)
from saqueduct.timings import Timings


@pytest.mark.parametrize(
    ("make", "given", "meant"),
    [
        (SaqueductConfig, "redis_ulr", "redis_url"),
        (Timings, "leas", "lease"),
        (TaskOptions, "retrys", "retries"),
        (CallOptions, "prioritty", "priority"),
        (Unique, "on_conflct", "on_conflict"),
        (Schedule, "timezon", "timezone"),
    ],
)
def test_a_misspelled_field_names_the_one_that_was_meant(make: Callable[..., Any], given: str, meant: str) -> None:
    with pytest.raises((TypeError, ConfigurationError)) as caught:
        make(**{given: "x"})
    assert make.__name__ in str(caught.value)
    assert f"there is no field '{given}': did you mean '{meant}'?" in str(caught.value)


def test_a_field_that_resembles_none_names_all() -> None:
    with pytest.raises(TypeError, match="there is no field 'zzzz': there are by, period, states, on_conflict"):
        Unique(zzzz=1)  # type: ignore[call-arg]


def test_a_misspelled_queue_or_schedule_names_the_one_that_was_meant() -> None:
    assert str(UnknownQueue("defualt", ["default"])) == "there is no queue 'defualt'; did you mean 'default'?"
    assert str(UnknownSchedule("nigthly", ["nightly"])) == "there is no schedule 'nigthly'; did you mean 'nightly'?"
