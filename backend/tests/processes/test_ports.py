"""The ports of servers that tests start."""

import pytest

from tests.fixtures import ports
from tests.parallel.process import NUMBER

REFUSED = 10_080
"""The highest port that Chromium opens no page of (`net/base/port_util.cc`)."""


@pytest.mark.parametrize("number", range(ports.MOST))
def test_a_browser_opens_a_page_of_any_of_them(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setenv(NUMBER, str(number))
    first = ports.LOWEST + ports.SHARE * number
    assert REFUSED < first <= ports.free_port() < first + ports.SHARE
