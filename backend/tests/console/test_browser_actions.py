"""Each action of the console in Chromium, done as a person does it, with mouse and keys, and within the policy."""

import csv
import datetime as dt
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.console.conftest import Served
from tests.console.test_browser import ALL
from tests.fixtures.poll import eventually_sync

pytestmark = [pytest.mark.browser]


def say(page: Page, text: str | re.Pattern[str]) -> None:
    """Wait for the note of an action."""
    expect(page.get_by_role("status")).to_contain_text(text)


def go(page: Page, served: Served, path: str) -> None:
    page.goto(f"{served.url}{path}")


def job(page: Page, served: Served, key: str, queue: str = "default") -> None:
    go(page, served, f"/job?key={quote(key)}&queue={queue}")


def menu(within: Page | Locator, label: str, why: str, button: str) -> None:
    """Open a menu, give a reason and press its button."""
    opened = within.locator("details.menu", has_text=label).first
    opened.locator("summary").click()
    opened.get_by_label("Why").fill(why)
    opened.get_by_role("button", name=button).click()


@pytest.fixture
def bounced(served: Served) -> str:
    """The key of a dead letter."""
    return served.ended("send_email", to="bounce@example.com")


@pytest.fixture
def waiting(served: Served) -> list[str]:
    """The keys of two jobs that wait."""
    return [served.enqueue("echo", delay=3600, group=number) for number in range(2)]


def test_a_job_is_retried(page: Page, served: Served, bounced: str) -> None:
    job(page, served, bounced)
    page.get_by_role("button", name="Retry").click()
    say(page, "Queued the job again.")
    expect(page.locator("#timeline")).to_contain_text("by ada, from the console")


def test_a_job_is_aborted_with_a_reason(page: Page, served: Served, waiting: list[str]) -> None:
    job(page, served, waiting[0])
    menu(page, "Abort", "no longer wanted", "Abort the job")
    say(page, "Abort requested")
    expect(page.locator("#timeline")).to_contain_text("by ada, from the console: no longer wanted")


def test_a_dead_letter_is_replayed_with_other_arguments(page: Page, served: Served, bounced: str) -> None:
    job(page, served, bounced)
    page.get_by_role("link", name="Replay…").click()
    page.locator("[name='arg.to']").fill("fixed@example.com")
    page.get_by_label("Why").fill("typo")
    page.get_by_role("button", name="Replay").click()
    say(page, "Replayed the dead letter.")
    expect(page.locator("#result")).to_contain_text("sent to fixed@example.com")
    expect(page.locator("#timeline")).to_contain_text(f"by ada, from the console, as a replay of {bounced}")


def test_a_dead_letter_is_discarded(page: Page, served: Served, bounced: str) -> None:
    job(page, served, bounced)
    menu(page, "Discard", "old", "Discard the job")
    say(page, "Discarded the dead letter.")
    expect(page.locator("#timeline")).to_contain_text("Discarded")


def test_a_job_is_duplicated_and_copied(page: Page, served: Served) -> None:
    job(page, served, served.ended("send_email", to="copied@example.com"))
    for place, text in (("as-code", "await send_email.enqueue("), ("as-curl", "curl -u ada -X POST")):
        button = page.locator(f"button[data-copy={place}]")
        button.click()
        expect(button).to_have_text("Copied")
        assert text in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("link", name="Duplicate…").click()
    expect(page.get_by_role("heading", name="Enqueue a job like")).to_be_visible()
    page.get_by_role("button", name="Enqueue").click()
    say(page, "Enqueued the job.")
    expect(page.locator("#result")).to_contain_text("sent to copied@example.com")


def test_a_form_says_what_is_wrong_at_its_field_and_enqueues_what_is_right(page: Page, served: Served) -> None:
    go(page, served, "/task?name=pay")
    page.get_by_label("Kind").first.select_option(label="Account")
    page.locator("[name='arg.by|1.iban']").fill("DE1")
    page.locator("[name='arg.at']").fill("2026-05-01T09:00")
    page.locator("[name='zone.at']").fill("Mars")
    page.get_by_role("button", name="Enqueue").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was enqueued.")
    # There is nothing to read again: the page is the answer to a form.
    assert page.locator("body").get_attribute("data-live") is None
    field = page.locator("[name='arg.at']")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator(f"#{field.get_attribute('id')}-problem")).to_contain_text("there is no zone 'Mars'")
    assert Axe().run(page, options={**ALL, "resultTypes": ["violations"]}).violations_count == 0
    page.locator("[name='zone.at']").fill("Europe/Berlin")
    page.get_by_role("button", name="Enqueue").click()
    say(page, "Enqueued the job.")
    expect(page.get_by_role("region", name="Arguments")).to_contain_text("2026-05-01T09:00:00+02:00")


@pytest.mark.parametrize(("verb", "note"), [("Replay", "A job replays them"), ("Discard", "A job does it")])
def test_a_group_of_dead_letters_is_changed_after_its_count_was_shown(
    page: Page, served: Served, verb: str, note: str
) -> None:
    for _ in range(2):
        served.ended("echo", fail=f"the group to {verb}")
    go(page, served, "/dead-letters")
    page.get_by_role("link", name=re.compile(f"^{verb} the group echo .*the group to {verb}")).click()
    expect(page.locator(".lead")).to_contain_text("2 dead letters match")
    page.get_by_label("Why").fill("try")
    page.get_by_role("button", name=f"{verb} 2").click()
    say(page, note)
    ended(page)


def ended(page: Page) -> None:
    """Wait for the end of the job that changes many; another one begins only then."""
    expect(page.locator("#facts .badge.complete")).to_be_visible()


def test_all_that_match_are_aborted_and_retried_after_their_count_was_shown(
    page: Page, served: Served, waiting: list[str]
) -> None:
    go(page, served, "/jobs?task=echo&status=queued&q=group")
    page.get_by_role("link", name="Abort all that match…").click()
    expect(page.locator(".lead")).to_contain_text("jobs match that wait or run")
    page.get_by_label("Why").fill("a mistake")
    page.get_by_role("button", name=re.compile(r"^Abort \d+$")).click()
    say(page, "A job does it")
    ended(page)
    go(page, served, "/jobs?task=echo&status=aborted&q=group")
    page.get_by_role("link", name="Retry all that match…").click()
    page.get_by_label("Why").fill("not a mistake")
    page.get_by_role("button", name=re.compile(r"^Retry \d+$")).click()
    ended(page)
    eventually_sync(lambda: all("Ended complete" in served.page("/job", key=key) for key in waiting))


def test_jobs_are_chosen_and_changed_with_the_keys(page: Page, served: Served) -> None:
    for _ in range(3):
        served.ended("echo", fail="chosen with keys")
    go(page, served, "/dead-letters?error=chosen+with+keys")
    for key in ("j", "x", "j", "j", "k", "x", "j", "x", "x"):
        page.keyboard.press(key)
    expect(page.locator("[data-chosen]")).to_have_text("2")
    page.locator(".bar").get_by_label("Why").fill("chosen")
    page.locator(".bar").get_by_role("button", name="Discard").click()
    say(page, "Discarded 2 of 2 jobs.")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("jx?")
    expect(page.get_by_role("searchbox")).to_have_value("jx?")


def test_the_row_that_the_keys_have_reached_stays_so_when_the_list_is_read_again(page: Page, served: Served) -> None:
    for _ in range(2):
        served.ended("echo", fail="reached with keys")
    go(page, served, "/dead-letters?error=reached+with+keys")
    page.keyboard.press("j")
    page.keyboard.press("j")
    key = page.locator("tr.current .key").inner_text()
    page.evaluate("document.querySelector('tr.current').dataset.old = 'yes'")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("tr[data-old]")).to_have_count(0)
    expect(page.locator("tr.current .key")).to_have_text(key)
    page.keyboard.press("x")
    expect(page.locator("[data-chosen]")).to_have_text("1")


def test_a_queue_is_paused_with_a_reason_and_drains(page: Page, served: Served) -> None:
    key = served.enqueue("wait", timeout=0)
    eventually_sync(lambda: "badge active" in served.page("/job", key=key))
    go(page, served, "/queues")
    queue = page.get_by_role("region", name="default", exact=True)
    menu(queue, "Pause", "stock taking", "Pause default")
    say(page, "Paused the queue default.")
    expect(queue.locator(".pause")).to_contain_text("stock taking")
    expect(queue.locator(".pause")).to_contain_text("Draining: 1 still runs")
    served.run(served.saqueduct.queues.abort(key))
    expect(queue.locator(".pause")).to_contain_text("Drained")
    queue.get_by_role("button", name="Resume").click()
    say(page, "Resumed the queue default.")


def test_a_worker_is_paused_and_resumed(page: Page, served: Served) -> None:
    eventually_sync(lambda: "pid" in served.page("/workers"))
    go(page, served, "/workers")
    menu(page, "Pause", "too much memory", "Pause this worker")
    say(page, "Paused the worker")
    expect(page.locator(".words").first).to_contain_text("too much memory")
    page.get_by_role("button", name="Resume").click()
    say(page, "Resumed the worker")


def test_a_schedule_is_run_paused_and_resumed(page: Page, served: Served) -> None:
    go(page, served, "/schedules")
    schedule = page.get_by_role("region", name="weekly", exact=True)
    schedule.get_by_role("button", name="Run now").click()
    say(page, "Enqueued ")
    menu(schedule, "Pause", "holidays", "Pause weekly")
    say(page, "Paused the schedule weekly.")
    expect(schedule).to_contain_text("holidays")
    schedule.get_by_role("button", name="Resume").click()
    say(page, "Resumed the schedule weekly")


def test_a_limit_is_changed_and_reset(page: Page, served: Served) -> None:
    go(page, served, "/limits")
    limit = page.get_by_role("region", name="provider", exact=True)
    limit.locator("summary", has_text="Change").click()
    limit.get_by_label("Jobs that start").fill("30")
    limit.get_by_label("Why").fill("the provider asked")
    limit.get_by_role("button", name="Change provider").click()
    expect(limit).to_contain_text("30 in 10 s")
    expect(limit).to_contain_text("the provider asked")
    limit.get_by_role("button", name="Reset").click()
    expect(limit).to_contain_text("90 in 10 s")


def test_a_page_that_is_not_live_updates_its_menu_without_being_read_again(page: Page, served: Served) -> None:
    go(page, served, "/limits")
    read: list[str] = []
    page.on("request", lambda request: read.append(request.url.removeprefix(served.url)))
    count = page.locator("#dead-count")
    before = count.inner_text()
    served.ended("echo", fail="counted in the menu")
    expect(count).not_to_have_text(before)
    assert "/menu" in read
    assert "/limits" not in read


def test_jobs_are_exported(page: Page, served: Served, tmp_path: Path) -> None:
    key = served.ended("echo", exported='="1" & <b>')
    go(page, served, "/jobs?q=exported")
    page.locator("summary", has_text="Export").click()

    def download(name: str) -> str:
        with page.expect_download() as begun:
            page.get_by_role("link", name=name).click()
        path = tmp_path / begun.value.suggested_filename
        begun.value.save_as(path)
        return path.read_text()

    [row] = csv.DictReader(download("CSV").splitlines())
    assert (row["key"], row["task"], row["status"]) == (key, "echo", "complete")
    assert json.loads(download("JSON lines"))["arguments"] == {"exported": '="1" & <b>'}


def test_the_audit_is_filtered(page: Page, served: Served) -> None:
    served.note("/queues/pause", queue="reports", why="seen in the audit")
    served.note("/queues/resume", queue="reports")
    go(page, served, "/audit")
    page.get_by_label("Job, queue, schedule, limit or worker").fill("reports")
    page.get_by_label("Who").fill("ada")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("target=reports"))
    expect(page.get_by_role("row").nth(1)).to_contain_text("resume queue")
    expect(page.get_by_role("row").nth(2)).to_contain_text("seen in the audit")
    page.get_by_role("link", name="Clear").click()
    expect(page).to_have_url(f"{served.url}/audit")


def test_jobs_are_filtered_by_time_and_the_filter_is_in_the_address(page: Page, served: Served) -> None:
    served.ended("echo", n=f"{dt.datetime.now(dt.UTC).year}")
    go(page, served, "/jobs")
    page.locator("summary", has_text="Filters").click()
    page.get_by_label("Task").select_option("echo")
    page.get_by_label("Since").fill("2h")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("task=echo.*since=2h"))
    expect(page.locator("table.rows tbody tr").first).to_contain_text("echo")
    page.get_by_label("Since").fill("soon")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert")).to_be_visible()


def test_a_person_signs_out(page: Page, served: Served) -> None:
    go(page, served, "/queues")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
