"""`/metrics` of the web process."""

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar
from prometheus_client.parser import text_string_to_metric_families

from saqueduct import SaqueductConfig
from saqueduct.litestar import SaqueductPlugin
from tests.conftest import running
from tests.fixtures.poll import eventually

PASSWORD, TOKEN = "correct horse battery staple", "open sesame"


@functools.cache
def application(redis_url: str, database_url: str, **settings: Any) -> Litestar:
    """Started again for each test with the same settings: to build it takes longer than most of them."""
    given: dict[str, Any] = {"metrics": True, "admin_password": PASSWORD, "metrics_token": TOKEN} | settings
    config = SaqueductConfig(redis_url=redis_url, database_url=database_url, database_connect_timeout=20.0, **given)
    return Litestar(plugins=[SaqueductPlugin(config)], logging_config=None)


@pytest.fixture
def serve(redis_url: str, migrated_url: str, empty_redis: None, engine: Any, tasks: None) -> Any:
    """Serves an application to a client on another machine; takes settings."""

    @asynccontextmanager
    async def serve(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        app = application(redis_url, migrated_url, **settings)
        transport = httpx.ASGITransport(cast("Any", app), client=("203.0.113.9", 50_000))
        async with running(app), httpx.AsyncClient(transport=transport, base_url="http://shop.example.com") as client:
            yield client

    return serve


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_the_token_opens_it(serve: Any) -> None:
    async with serve() as client:
        answer = await client.get("/queue/metrics", headers=bearer(TOKEN))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        families = {family.name for family in text_string_to_metric_families(answer.text)}
        assert {"saqueduct_redis_up", "saqueduct_postgresql_up", "saqueduct_queue_jobs"} <= families


async def test_the_admin_may_read_it(serve: Any) -> None:
    async with serve() as client:
        assert (await client.get("/queue/metrics", auth=("admin", PASSWORD))).status_code == 200


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(""), {"authorization": f"Basic {TOKEN}"}])
async def test_nobody_else_may(serve: Any, headers: dict[str, str]) -> None:
    async with serve() as client:
        assert (await client.get("/queue/metrics", headers=headers)).status_code == 401


async def test_the_token_opens_nothing_else(serve: Any) -> None:
    async with serve() as client:
        assert (await client.get("/queue/queues", headers=bearer(TOKEN))).status_code == 401


async def test_an_empty_token_opens_nothing(serve: Any) -> None:
    async with serve(metrics_token="") as client:
        assert (await client.get("/queue/metrics", headers={"authorization": "Bearer "})).status_code == 401
        assert (await client.get("/queue/metrics", auth=("admin", PASSWORD))).status_code == 200


async def test_without_metrics_there_is_no_such_route(serve: Any) -> None:
    async with serve(metrics=False) as client:
        assert (await client.get("/queue/metrics", headers=bearer(TOKEN))).status_code == 404


async def test_prometheus_gets_the_format_that_it_asks_for(serve: Any) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    async with serve() as client:
        answer = await client.get("/queue/metrics", headers=bearer(TOKEN) | accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")


async def test_health_and_metrics_agree(serve: Any) -> None:
    async with serve(run_workers="web") as client:

        async def with_a_worker() -> Any:
            health = (await client.get("/queue/health/ready")).json()
            return health if health["workers"]["live"]["default"] else None

        health = await eventually(with_a_worker)
        text = (await client.get("/queue/metrics", headers=bearer(TOKEN))).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        live = sum(sample.value for sample in samples if sample.name == "saqueduct_workers")
        assert health["checks"] == {"redis": "ok", "postgresql": "ok"}
        assert {sample.value for sample in samples if sample.name.endswith("_up")} == {1.0}
        assert live == health["workers"]["live"]["default"] == 1
