"""Errors as answers, and what they leave in the log."""

from typing import Any, cast

import httpx
import pytest
from litestar import Litestar, get
from litestar.params import FromPath

from saqueduct.litestar.errors import EXCEPTION_HANDLERS


async def test_a_path_writes_no_lines_of_its_own_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    @get("/{name:str}")
    async def fail(name: FromPath[str]) -> None:
        raise RuntimeError

    transport: Any = httpx.ASGITransport(
        cast("Any", Litestar([fail], exception_handlers=EXCEPTION_HANDLERS, logging_config=None)),
        raise_app_exceptions=False,
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/a%0Aforged%1B%5B31m")).status_code == 500
    [line] = [record.getMessage() for record in caplog.records if record.name == "saqueduct.http"]
    assert line == r"unexpected error at GET /a\nforged\x1b[31m"
