"""How long the web process keeps a connection that is idle."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from app.main import main

PROXIES = 60
"""Seconds that nginx and load balancers of AWS keep an idle connection to a server, by default."""


@pytest.fixture
def started(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The options with which the web process starts uvicorn; filled when it does."""
    found: dict[str, Any] = {}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: found.update(options))
    yield found
    # The process freezes what it has loaded.
    gc.unfreeze()


def test_a_proxy_is_the_first_to_close_a_connection(started: dict[str, Any]) -> None:
    main()
    assert started["timeout_keep_alive"] > PROXIES


def test_the_time_is_a_setting(started: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_KEEP_ALIVE", "7")
    main()
    assert started["timeout_keep_alive"] == 7
