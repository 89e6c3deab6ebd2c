"""The ports on which worker processes serve their metrics."""

import asyncio
import threading
from pathlib import Path

import httpx
import pytest

from saqueduct import ConfigurationError, Context, Saqueduct, task
from saqueduct.common.secret import Secret
from saqueduct.telemetry.metrics_port import MetricsPort
from tests.fixtures.poll import eventually, eventually_sync
from tests.fixtures.ports import free_port
from tests.litestar.applications import Project
from tests.processes.stack import process
from tests.telemetry.conftest import Open

EXAMPLE = """
from saqueduct import Context, SaqueductConfig, task

@task
async def add(ctx: Context, *, a: int, b: int) -> int:
    return a + b

config = SaqueductConfig(redis_url={url!r})
"""
"""Without a web framework, which each of the processes would import."""


def port_of(saqueduct: Saqueduct, first: int, token: str = "") -> MetricsPort:
    assert saqueduct.metrics is not None
    return MetricsPort(saqueduct.metrics, "127.0.0.1", first, Secret(token))


async def get(port: int, path: str = "/metrics", token: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.get(f"http://127.0.0.1:{port}{path}", headers=headers)


async def test_the_port_serves_all_metrics_and_nothing_else(measured: Saqueduct) -> None:
    with port_of(measured, free_port()) as serving:
        answer = await get(serving.port)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert "saqueduct_redis_up 1.0" in answer.text
        assert (await get(serving.port, "/other")).status_code == 404
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            assert (await client.post(f"http://127.0.0.1:{serving.port}/metrics")).status_code == 405


async def test_a_second_process_takes_the_next_free_port(measured: Saqueduct) -> None:
    first = free_port()
    with port_of(measured, first) as one, port_of(measured, first) as other:
        assert one.port == first
        assert other.port > first
        assert (await get(other.port)).status_code == 200


async def test_a_port_is_free_again_after_the_block(measured: Saqueduct) -> None:
    first = free_port()
    for _ in range(2):
        with port_of(measured, first) as serving:
            assert serving.port == first


async def test_with_a_token_the_port_asks_for_it(measured: Saqueduct) -> None:
    with port_of(measured, free_port(), "open sesame") as serving:
        assert (await get(serving.port)).status_code == 401
        assert (await get(serving.port, token="wrong")).status_code == 401
        assert (await get(serving.port, token="open sesame")).status_code == 200


async def test_an_address_of_another_machine_is_an_error_that_names_it(measured: Saqueduct) -> None:
    assert measured.metrics is not None
    with pytest.raises(ConfigurationError, match=r"203\.0\.113\.9:9100"):
        MetricsPort(measured.metrics, "203.0.113.9", 9100, Secret(""))


async def test_the_port_answers_while_a_job_blocks_the_event_loop(open_measured: Open) -> None:
    first, release = free_port(), threading.Event()
    seen: list[str] = []

    def scrape() -> None:
        def lagging() -> bool:
            text = httpx.get(f"http://127.0.0.1:{first}/metrics", trust_env=False, timeout=60).text
            lag = [line for line in text.splitlines() if line.startswith("saqueduct_event_loop_lag_seconds ")]
            if lag and float(lag[0].split()[1]) > 1.0:
                seen.append(text)
            return bool(seen)

        try:
            eventually_sync(lagging)
        finally:
            release.set()

    async with open_measured(metrics_port=first) as saqueduct:

        @task(timeout=120)
        async def blocks(ctx: Context) -> None:
            threading.Thread(target=scrape, daemon=True).start()
            release.wait(90)

        await blocks.enqueue()
        async with saqueduct.working():
            await eventually(lambda: seen, within=120)
    # What only the event loop can read is missing.
    assert "saqueduct_queue_jobs{" not in seen[0]


async def test_workers_that_share_a_process_with_others_serve_the_port_only_while_they_run(
    open_measured: Open,
) -> None:
    first = free_port()
    async with open_measured(metrics_port=first) as saqueduct:
        async with saqueduct.working():
            assert (await get(first)).status_code == 200
        with pytest.raises(httpx.ConnectError):
            await get(first)


def test_each_of_several_worker_processes_serves_its_own_port(redis_url: str, tmp_path: Path) -> None:
    first = free_port()
    environment = {"METRICS_PORT": str(first), "ENVIRONMENT": "development"}
    project = Project(tmp_path / "shop", EXAMPLE.format(url=redis_url), environment)

    def both() -> bool:
        answers = [_text(port) for port in range(first, first + 20)]
        return sum("saqueduct_redis_up 1.0" in text for text in answers) == 2

    command = ("-m", "saqueduct.cli", "--app", "example:config", "workers", "run", "--workers", "2")
    with process(command, project.environment, project.directory / "log", project.directory):
        eventually_sync(both, within=120)


def _text(port: int) -> str:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=60).text
    except httpx.HTTPError:
        return ""


async def test_many_scrapes_at_once_are_answered(measured: Saqueduct) -> None:
    with port_of(measured, free_port()) as serving:
        answers = await asyncio.gather(*(get(serving.port) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
