"""SAQ's web UI at /saq, in a real browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from playwright.sync_api import Page, expect, sync_playwright

from tests.fixtures.poll import eventually_sync
from tests.processes.stack import WORKER_WITH_TEST_TASKS, enqueue, process, web

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@pytest.fixture
def page() -> Iterator[Page]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine: apt-get install chromium")
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page()
        browser.close()


@pytest.fixture
def client(environment: dict[str, str], redis_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """The HTTP process and a worker, with an empty Redis."""
    with redis.Redis.from_url(redis_url) as server:
        server.flushall()
    with (
        process(WORKER_WITH_TEST_TASKS, environment, tmp_path / "worker.log"),
        web(environment, tmp_path / "web.log") as client,
    ):
        eventually_sync(lambda: client.get("/health/ready").json()["workers"]["status"] == "ok")
        yield client


def test_the_queue_page_shows_the_queue_and_its_worker(page: Page, client: httpx.Client) -> None:
    page.goto(f"{client.base_url}/saq")
    page.get_by_role("link", name="default").click()
    expect(page.get_by_role("heading", name="Workers")).to_be_visible()
    table = page.locator("table", has_text="Uptime")
    expect(table.locator("tbody tr")).to_have_count(1)


def test_a_job_is_shown_and_retried(page: Page, client: httpx.Client) -> None:
    location = client.post("/process", params={"user_id": 7}).headers["location"]
    eventually_sync(lambda: client.get(location).json()["status"] == "complete")
    completed = client.get(location).json()["completed"]
    page.goto(f"{client.base_url}/saq/queues/default{location}")
    expect(page.get_by_text("my_task")).to_be_visible()
    expect(page.get_by_text("'user_id': 7").first).to_be_visible()
    page.get_by_role("button", name="Retry").click()
    eventually_sync(lambda: client.get(location).json()["completed"] > completed)
    assert client.get(location).json()["attempts"] == 1


def test_a_running_job_is_aborted(page: Page, client: httpx.Client, redis_url: str) -> None:
    key = "to-abort"
    enqueue(redis_url, "wait_for_key", key=key, name="never", timeout=60)
    eventually_sync(lambda: client.get(f"/jobs/{key}").json()["status"] == "active")
    page.goto(f"{client.base_url}/saq/queues/default/jobs/{key}")
    page.get_by_role("button", name="Abort").click()
    eventually_sync(lambda: client.get(f"/jobs/{key}").json()["status"] == "aborted")
    page.reload()
    expect(page.get_by_text("aborted from ui").first).to_be_visible()
