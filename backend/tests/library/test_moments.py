"""Times and durations as people write them."""

import time

import pytest

from saqueduct.common.moments import moment_of, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("1h30m", 5400.0), ("1.5d", 129600.0), ("5ms", 0.005), ("1m5ms", 60.005)]
    + [(text, None) for text in ("", "5", "s", "5x", "5 s", "1h5", ".5h", "1.h", "-5s", "1mss")],
)
def test_a_duration_has_numbers_and_units(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["9" * 20_000, "1." * 10_000, "1s" * 10_000 + "!", "9" * 20_000 + ".9" * 5_000])
def test_a_long_text_that_is_no_time_costs_no_time(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match="is neither a duration"):
        moment_of(text, None)
    # A search that grows with the square of the length takes half a minute.
    assert time.process_time() - begun < 2.0
