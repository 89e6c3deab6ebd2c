"""The console in Chromium: accessible, within its policy, on small screens, and with keys and live updates."""

import re
from typing import Literal
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.console.conftest import MARKUP, Served
from tests.fixtures.poll import eventually_sync

pytestmark = [pytest.mark.browser]

PAGES = [
    *("", "/jobs", "/dead-letters", "/tasks", "/queues", "/workers", "/schedules", "/limits", "/audit", "/login"),
    *("/job?key=failed", "/job?key=nowhere", "/task?name=build_report", "/task?name=pay", "/jobs?status=failed"),
    *("/jobs/all?action=abort", "/jobs/all?action=retry"),
    *("/dead-letters/all?action=replay", "/dead-letters/all?action=discard"),
]

CONTRAST = {"runOnly": ["color-contrast"]}

ALL = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module", autouse=True)
def failed(served: Served) -> None:
    """A job that has failed, with markup in all its texts."""
    served.enqueue(f"task {MARKUP}", key="failed", text=MARKUP)
    eventually_sync(lambda: "Ended failed" in served.page("/job", key="failed"), within=60)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_in_both_themes_and_fits_small_screens(page: Page, served: Served, path: str) -> None:
    _look(page, "dark", 1440)
    page.goto(f"{served.url}{path}")
    found = Axe().run(page, options={**ALL, "resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
    _look(page, "light", 360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    # The page has axe already.
    report = page.evaluate("options => axe.run(document, options)", {**CONTRAST, "resultTypes": ["violations"]})
    assert report["violations"] == []


def _look(page: Page, scheme: Literal["light", "dark"], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)


def test_text_of_jobs_runs_in_no_page(page: Page, served: Served) -> None:
    for path in (f"/task?{urlencode({'name': f'task {MARKUP}'})}", "/dead-letters", "/jobs", "/job?key=failed"):
        page.goto(f"{served.url}{path}")
        assert page.locator("img, b, main script").count() == 0
        assert page.get_by_text("onerror=").count() > 0


def test_keys_open_the_help_and_close_it(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/queues")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_a_change_appears_without_a_reload(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/queues")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    served.run(served.saqueduct.queues.get("reports").pause("eve", "to see it live"))
    expect(page.get_by_text("to see it live")).to_be_visible()
    served.run(served.saqueduct.queues.get("reports").resume())
    expect(page.get_by_text("to see it live")).to_be_hidden()


def test_an_update_while_a_link_is_pressed_does_not_lose_the_click(page: Page, served: Served) -> None:
    served.enqueue("echo", key="pressed", delay=3600)
    page.goto(f"{served.url}/jobs")
    page.locator("a[href*='key=pressed']").first.hover()
    page.mouse.down()
    served.enqueue("echo", delay=3600)
    page.evaluate(UPDATE)
    page.mouse.up()
    expect(page).to_have_url(re.compile("key=pressed"))


@pytest.mark.parametrize(("path", "is_live"), [("/jobs", True), ("/audit", False), ("/limits", False)])
def test_only_a_page_that_is_updated_says_so(page: Page, served: Served, path: str, is_live: bool) -> None:
    page.goto(f"{served.url}{path}")
    page.evaluate(UPDATE)
    expect(page.locator("#live-state")).to_be_visible(visible=is_live)


def test_a_press_that_the_menu_of_the_browser_ends_does_not_stop_the_updates(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/jobs")
    page.locator("h1").hover()
    page.mouse.down(button="right")
    served.enqueue("echo", key="behind-the-menu", delay=3600)
    expect(page.locator("#list")).to_contain_text("behind-the-menu")
    page.mouse.up(button="right")


def test_an_update_leaves_the_focus_where_it_is(page: Page, served: Served) -> None:
    key = served.enqueue("echo", delay=3600, text="in-focus")
    page.goto(f"{served.url}/jobs?q=in-focus")
    page.evaluate(UPDATE)
    for label in (f"Select {key}", "Select all rows", "Jobs that match"):
        page.get_by_label(label, exact=True).focus()
        page.evaluate("document.getElementById('list').dataset.source = 'another'")
        page.evaluate(UPDATE)
        expect(page.get_by_label(label, exact=True)).to_be_focused()


def test_an_update_leaves_the_focus_on_the_button_of_the_same_job(page: Page, served: Served) -> None:
    key = served.enqueue("echo", key="same-button", delay=3600)
    page.goto(f"{served.url}/job?key={key}")
    page.evaluate(UPDATE)
    summary = page.locator("#actions summary")
    summary.focus()
    page.evaluate("document.getElementById('actions').dataset.source = 'another'")
    page.evaluate(UPDATE)
    expect(summary).to_be_focused()
    page.evaluate("document.querySelector('#actions input[name=key]').value = 'another job'")
    page.evaluate("document.getElementById('actions').dataset.source = 'another'")
    page.evaluate(UPDATE)
    expect(summary).not_to_be_focused()


UPDATE = """async () => {
  document.dispatchEvent(new Event("visibilitychange"));
  // Begun later than that of the update, if there is one.
  for (let times = 0; times < 3; times += 1) await (await fetch(location.href)).text();
}"""
"""Asks for a live update, and waits until it is done or has been put off."""


def test_the_actions_of_a_job_and_a_queue_follow_their_state(page: Page, served: Served) -> None:
    key = served.enqueue("wait", timeout=0)
    eventually_sync(lambda: "badge active" in served.page("/job", key=key))
    page.goto(f"{served.url}/job?key={key}")
    expect(page.locator("#actions")).to_contain_text("Abort")
    served.run(served.saqueduct.queues.abort(key))
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    expect(page.locator("#actions")).not_to_contain_text("Abort")
    page.goto(f"{served.url}/queues")
    served.run(served.saqueduct.queues.get("reports").pause("eve"))
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    served.run(served.saqueduct.queues.get("reports").resume())
    expect(page.get_by_role("button", name="Resume")).to_be_hidden()


def test_a_queue_is_paused_in_the_browser(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/queues")
    queue = page.get_by_role("region", name="reports", exact=True)
    queue.locator("summary", has_text="Pause").click()
    queue.get_by_label("Why").fill("inventory")
    queue.get_by_role("button", name="Pause reports").click()
    expect(page.get_by_role("status")).to_contain_text("Paused the queue reports.")
    queue.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_contain_text("Resumed the queue reports.")


def test_the_theme_is_switched_and_times_are_local(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/schedules")
    tick = page.locator("ol.ticks [data-unless] time").first
    expect(tick).to_contain_text("GMT+")
    # The schedule has the zone of the browser, and its time is there already.
    expect(tick).to_be_hidden()
    page.locator("summary", has_text="Display").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("summary", has_text="Display").click()
    page.get_by_role("button", name="UTC").click()
    expect(tick).to_contain_text("UTC")
    expect(tick).to_be_visible()
