"""SAQ's web UI at /saq and the page of the OpenAPI document at /schema, in a real browser."""

from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import quote, urlsplit

import httpx
import pytest
import redis
from playwright.sync_api import Browser, Page, expect

from tests.fixtures.application import variables
from tests.fixtures.poll import eventually_sync
from tests.processes.stack import WEB_WITH_TEST_TASKS, WORKER_WITH_TEST_TASKS, enqueue, process, web

pytestmark = [pytest.mark.long, pytest.mark.browser]

PATIENCE = 90_000
"""Milliseconds; Playwright's own five and thirty seconds can be too short on a busy machine."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page in a browser context of its own."""
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


@pytest.fixture(scope="module")
def client(redis_url: str, migrated_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The HTTP process and a worker, which begin with an empty Redis."""
    with redis.Redis.from_url(redis_url) as server:
        server.flushall()
    directory = tmp_path_factory.mktemp("saq-ui")
    environment = variables(redis_url, migrated_url, directory)
    with (
        process(WORKER_WITH_TEST_TASKS, environment, directory / "worker.log"),
        web(environment, directory / "web.log", WEB_WITH_TEST_TASKS) as client,
    ):
        eventually_sync(lambda: client.get("/health/ready").json()["workers"]["status"] == "ok")
        yield client


def test_the_queue_page_shows_the_queue_and_its_worker(page: Page, client: httpx.Client) -> None:
    page.goto(f"{client.base_url}/saq")
    page.get_by_role("link", name="default").click()
    expect(page.get_by_role("heading", name="Workers")).to_be_visible()
    table = page.locator("table", has_text="Uptime")
    expect(table.locator("tbody tr")).to_have_count(1)


def test_the_counters_of_a_worker_are_those_of_now(page: Page, client: httpx.Client) -> None:
    complete = page.locator("table", has_text="Uptime").locator("tbody td").nth(1)

    def counted() -> int:
        page.goto(f"{client.base_url}/saq/queues/default")
        return int(complete.inner_text())

    for number in range(1, 4):
        before = counted()
        client.post("/process", params={"user_id": number, "wait": 10}).raise_for_status()
        eventually_sync(lambda before=before: counted() > before)  # type: ignore[misc]
    ages: list[int] = []

    def reports() -> int:
        [worker] = client.get("/saq/api/queues/default").json()["queue"]["workers"].values()
        if worker["stats"]["uptime"] not in ages:
            ages.append(worker["stats"]["uptime"])
        return len(ages)

    eventually_sync(lambda: reports() >= 4, within=120)
    # By the worker's own clock; SAQ's workers report every 10 seconds.
    assert min(later - earlier for earlier, later in pairwise(ages)) < 5000


def test_a_job_is_shown_and_retried(page: Page, client: httpx.Client) -> None:
    location = client.post("/process", params={"user_id": 7}).headers["location"]
    eventually_sync(lambda: client.get(location).json()["status"] == "complete")
    completed = client.get(location).json()["completed"]
    page.goto(f"{client.base_url}/saq/queues/default{urlsplit(location).path}")
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


MARKUP = {"innerHTML": "<img src=x onerror='document.title=`owned`'>"}


def test_arguments_results_and_keys_are_text_and_never_markup(page: Page, client: httpx.Client, redis_url: str) -> None:
    key = "<img src=x>"
    for name in ("props", "attrs", "style", "on", "hook"):
        enqueue(redis_url, "take_anything", key=f"{key}{name}", kwargs={name: MARKUP}, scheduled=2_000_000_000)
    page.goto(f"{client.base_url}/saq/queues/default")
    jobs = page.locator("table", has_text="Args")
    expect(jobs.get_by_text("innerHTML")).to_have_count(5)
    assert page.locator("img").count() == 0
    page.goto(f"{client.base_url}/saq/queues/default/jobs/{quote(key)}props")
    expect(page.get_by_text("innerHTML")).to_be_visible()
    assert page.locator("img").count() == 0
    assert page.title() == "SAQ"


def test_the_pages_need_nothing_that_their_policy_forbids_and_nothing_from_elsewhere(
    page: Page, client: httpx.Client
) -> None:
    complaints: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: complaints.append(f"{message.text} {message.location}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.goto(f"{client.base_url}/saq/")
    expect(page.get_by_role("link", name="default")).to_be_visible()
    page.goto(f"{client.base_url}/schema")
    expect(page.get_by_role("heading", name="Saqueduct")).to_be_visible()
    expect(page.get_by_text("/jobs/{key}", exact=True).first).to_be_visible()
    assert hosts - {""} == {client.base_url.netloc.decode()}
    assert [text for text in complaints if "favicon" not in text] == []
