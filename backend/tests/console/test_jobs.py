"""Jobs: found, shown, changed, exported."""

import asyncio
import csv
import io
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from saqueduct import JobNotFound, QueueUnavailable
from saqueduct.console.search import search_of
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.queue.listing import JobListing, LiveState
from saqueduct.queue.queue import EngineQueue
from saqueduct.record_sessions import history
from saqueduct.sizes import Sizes
from saqueduct.tasks.nesting import LEVELS
from saqueduct.timings import ConsoleTimings
from tests.console.conftest import MARKUP, Served, code_in, config_of, serving
from tests.fixtures.poll import eventually_sync

CORPUS = [
    MARKUP,
    '"><svg/onload=alert(1)>',
    "javascript:alert(1)",
    "{{ ''.__class__.__mro__ }}{% raw %}",
    "</textarea></pre></title><script>alert(1)</script>",
    "' autofocus onfocus='alert(1)",
    "\u202eevil \u2028 <!--",
]


OTHERS: Sequence[tuple[str, dict[str, Any]]] = (
    ("send_email", {"to": "ada@example.com"}),
    ("echo", {"mark": "newest"}),
    ("send_email", {"to": "alan@example.com"}),
)


def rows(page: str) -> int:
    return page.count('class="pick"><input type="checkbox" name="selected"')


def test_live_and_recorded_jobs_are_in_one_list(served: Served) -> None:
    served.enqueue("echo", key="later", delay=3600)
    key = served.ended("send_email", to="ada@example.com")
    page = served.page("/jobs")
    assert "later" in page
    assert key in page


def test_jobs_are_found_by_words_arguments_and_filters(served: Served) -> None:
    wanted = served.ended("send_email", to="grace@example.com", subject="Invoice 4711")
    other = served.ended("send_email", to="alan@example.com")
    for query in (
        {"q": "invoice"},
        {"q": "to:grace@example.com"},
        {"q": 'subject:"Invoice 4711"'},
        {"q": "grace task:send_email status:complete", "tag": "mail", "since": "1h"},
    ):
        page = served.page("/jobs", **query)
        assert wanted in page, query
        assert other not in page, query
    assert wanted in served.page("/jobs", q=wanted)
    assert "No job matches." in served.page("/jobs", q="nothing-like-this")


def test_a_failed_job_is_found_by_its_error(served: Served) -> None:
    key = served.ended("echo", fail="the printer is on fire")
    assert key in served.page("/jobs", status="failed", error="printer is on")
    assert key in served.page("/jobs", q="printer")
    assert key not in served.page("/jobs", status="complete")


@pytest.mark.parametrize("query", [{"status": "lost"}, {"since": "soon"}, {"q": "{a"}], ids=str)
def test_a_filter_that_cannot_be_understood_is_explained(served: Served, query: dict[str, str]) -> None:
    assert 'class="note error"' in served.page("/jobs", **query)


def test_pages_follow_each_other(served: Served) -> None:
    async def enqueue() -> None:
        for number in range(60):
            await served.saqueduct.queues.enqueue("echo", {"page": number})

    served.run(enqueue())
    eventually_sync(lambda: rows(served.page("/jobs", q="page", status="complete")) == 50)
    first = served.page("/jobs", q="page", status="complete")
    following = re.search(r'rel="next" href="/console([^"]+)"', first)
    assert following is not None
    assert 1 <= rows(served.page(unescape(following[1]))) <= 10


def test_a_job_is_shown_with_exact_numbers(served: Served) -> None:
    key = served.ended("build_report", month="2026-05-01", token="hush-hush")
    page = served.page("/job", key=key, queue="reports")
    assert "12345678901234567890" in page
    assert "Ended complete" in page
    assert "hush-hush" not in page
    assert "Redacted by the task, and kept nowhere: token." in page
    assert "await build_report.enqueue(" in page
    assert "/queue/tasks/build_report" in page


def test_a_failed_job_is_shown_with_its_traceback(served: Served) -> None:
    key = served.ended("send_email", to="bounce@example.com")
    page = served.page("/job", key=key)
    assert "Traceback (most recent call last)" in page
    assert "ConnectionError: mailbox of bounce@example.com is unavailable" in page


def test_a_job_that_is_not_there_is_explained(served: Served) -> None:
    answer = served.client.get("/console/job", params={"key": "<b>never</b>"})
    assert answer.status_code == 404
    assert "&lt;b&gt;never&lt;/b&gt;" in answer.text


def test_a_job_that_moves_to_redis_during_the_look_is_found(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    key = served.enqueue("echo", delay=3600)
    find, looks = served.saqueduct.queues.find, []

    async def late(given: str, queue: str | None = None) -> Any:
        looks.append(given)
        if len(looks) == 1:
            raise JobNotFound(given)
        return await find(given, queue)

    monkeypatch.setattr(served.saqueduct.queues, "find", late)
    assert key in served.page("/job", key=key)
    assert looks == [key, key]


def test_a_job_is_aborted_and_retried(served: Served) -> None:
    key = served.enqueue("wait", key=" a/b?c&d ")
    eventually_sync(lambda: "active" in served.page("/job", key=key, queue="default"))
    assert served.note("/job/abort", key=key, queue="default", why="too slow").startswith("Abort requested")
    eventually_sync(lambda: "Ended aborted" in served.page("/job", key=key, queue="default"))
    assert "aborted by ada: too slow" in served.page("/job", key=key, queue="default")
    assert served.note("/job/retry", key=key, queue="default") == "Queued the job again."
    served.run(served.saqueduct.queues.abort(key))


def test_what_is_not_possible_is_said_on_the_page(served: Served) -> None:
    key = served.ended("echo", done=True)
    answer = served.submit("/job/abort", key=key, queue="default")
    assert "note error" in served.client.get(answer.headers["location"]).text


def test_chosen_jobs_are_changed_together(served: Served) -> None:
    keys = [served.enqueue("echo", delay=3600, bulk=number) for number in range(3)]
    places = [msgspec.json.encode(("default", key)).decode() for key in keys]
    said = served.note("/jobs/change", {"selected": places, "action": "abort", "why": "spring cleaning"})
    assert said == "Aborted 3 of 3 jobs."
    said = served.note("/jobs/change", {"selected": [*places, '["default","gone"]'], "action": "abort"})
    assert said.startswith("Aborted 0 of 4 jobs.")
    assert served.note("/jobs/change", action="abort").startswith("Choose jobs first")


def test_jobs_are_exported_with_what_a_spreadsheet_would_run_as_text(served: Served) -> None:
    key = served.ended("send_email", to="export@example.com", subject="=1+1")
    lines = served.client.get("/console/jobs/export.jsonl", params={"q": "to:export@example.com"})
    [job] = [msgspec.json.decode(line) for line in lines.text.splitlines()]
    assert (job["key"], job["arguments"]["subject"]) == (key, "=1+1")
    answer = served.client.get("/console/jobs/export.csv", params={"q": "to:export@example.com"})
    assert answer.headers["content-disposition"] == 'attachment; filename="jobs.csv"'
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert row["task"] == "send_email"
    assert not any(value.startswith(("=", "+", "-", "@")) for value in row.values())


def test_what_jobs_contain_is_never_markup(served: Served) -> None:
    keys = [served.ended("echo", fail=text, **{f"arg{text[:20]}": text}) for text in CORPUS]
    keys.append(served.ended(f"task {MARKUP}"))
    pages = [served.page("/jobs"), served.page("/jobs", q=MARKUP), served.page("/dead-letters"), served.page("/tasks")]
    pages += [served.page("/dead-letters", task=MARKUP, error=MARKUP), served.page("/task", name=f"task {MARKUP}")]
    pages += [served.page("/job", key=key) for key in keys]
    pages += [served.page("/task", name="echo", key=key, queue="default") for key in keys[:-1]]
    for page in pages:
        assert code_in(page) == []


@pytest.mark.parametrize(
    ("q", "fields"),
    [
        ("timeout", {"text": "timeout"}),
        ("user_id:7 slow", {"arguments": {"user_id": 7}, "text": "slow"}),
        ('to:"Ada L." task:mail', {"arguments": {"to": "Ada L."}, "task": "mail"}),
        ("https://example.com", {"text": "https://example.com"}),
        ('say "open', {"text": 'say "open'}),
        ("it's 5", {"text": "it's 5"}),
    ],
    ids=str,
)
def test_a_search_is_read_as_a_person_means_it(q: str, fields: dict[str, Any]) -> None:
    search = search_of({"q": q})
    assert search.problem == ""
    found = {name: getattr(search.which, name) for name in fields}
    assert found == fields


def test_a_job_shows_what_it_logged(served: Served) -> None:
    key = served.ended("logs", line=MARKUP)
    page = served.page("/job", key=key, queue="default")
    assert code_in(page) == []
    assert 'id="logs"' in page
    assert f"line {MARKUP}" in unescape(page)
    assert 'id="logs"' not in served.page("/job", key=served.ended("send_email", to="a@example.com"), queue="default")


@pytest.mark.parametrize("selected", ["", "x", "{", "[]", '["default"]', "[1,2]", '["default","\\ud800"]'])
def test_a_choice_that_names_no_job_is_refused(served: Served, selected: str) -> None:
    answer = served.submit("/jobs/change", action="retry", selected=selected)
    assert answer.status_code == 400
    assert "names no job" in answer.text


@pytest.mark.parametrize("query", [{"queue": "nope"}, {"q": "queue:nope"}])
@pytest.mark.parametrize("name", ["export.csv", "export.jsonl"])
def test_an_export_of_a_queue_that_is_not_there_is_refused(served: Served, name: str, query: dict[str, str]) -> None:
    answer = served.client.get(f"/console/jobs/{name}", params=query)
    assert answer.status_code == 404
    assert "nope" in answer.text


@pytest.mark.parametrize("query", [{"status": "nope"}, {"since": "soon"}, {"trace": "1"}])
def test_an_export_that_cannot_be_understood_is_not_one_of_all_jobs(served: Served, query: dict[str, str]) -> None:
    assert served.client.get("/console/jobs/export.csv", params=query).status_code == 400


@pytest.mark.parametrize("levels", [60, LEVELS - 2])
def test_a_job_with_arguments_of_many_levels_is_shown(served: Served, levels: int) -> None:
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    page = served.page("/job", key=served.ended("echo", x=deep))
    assert page.count('<details class="json"') == 0


def test_a_job_shows_the_jobs_that_it_enqueued_and_they_show_it(served: Served) -> None:
    key = served.ended("parent", text=MARKUP)

    def children() -> list[str]:
        found = re.search(r'<ul class="plain" id="children".*?</ul>', served.page("/job", key=key), re.DOTALL)
        return re.findall(r'badge (?:queued|complete)".*?href="/console(/job[^"]+)"', found[0]) if found else []

    eventually_sync(lambda: len(children()) == 2, within=60)
    page = served.page("/job", key=key)
    assert code_in(page) == []
    assert "badge queued" in page
    for child in children():
        assert f'href="/console/job?key={key}"' in served.page(unescape(child))
    assert 'id="children"' not in served.page("/job", key=served.ended("echo", text="none"))


@pytest.mark.parametrize("name", ["export.csv", "export.jsonl"])
def test_an_export_that_cannot_be_read_is_refused_before_it_begins(
    served: Served, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise QueueUnavailable("Redis is away")

    monkeypatch.setattr("saqueduct.console.pages.jobs.page_of", away)
    answer = served.client.get(f"/console/jobs/{name}")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text


def test_a_search_says_how_many_live_jobs_it_looked_at(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []

    class Listing(JobListing):
        def __init__(self, queues: Sequence[EngineQueue], status: LiveState, *, look_at: int) -> None:
            # None at all: the cursor then says that more follow.
            super().__init__(queues, status, look_at=0)
            limits.append(look_at)

    monkeypatch.setattr("saqueduct.console.job_rows.JobListing", Listing)
    assert "The first 1,000 running and waiting jobs were searched" in served.page("/jobs", q="nobody")
    assert set(limits) == {1_000}
    assert "the next page searches on" in served.page("/jobs", q="nobody", status="queued")
    limits.clear()
    served.client.get("/console/jobs/export.jsonl", params={"q": "nobody"})
    assert set(limits) == {50_000}


def test_a_search_for_arguments_says_which_records_of_today_it_leaves_out(
    served: Served, redis_url: str, migrated_url: str, tmp_path: Path
) -> None:
    with serving(config_of(redis_url, migrated_url, tmp_path, sizes=Sizes(searched_records=2))) as searches_two:
        oldest = served.ended("echo", mark="bounded", number=0)
        keys = [served.ended("echo", mark="bounded", number=number) for number in (1, 2, 3)]
        everything = served.page("/jobs", q="mark:bounded")
        part = searches_two.page("/jobs", q="mark:bounded")
    assert "were searched, and all older ones" not in everything
    assert oldest in everything
    assert "were searched, and all older ones" in part
    assert oldest not in part
    assert keys[-1] in part


def test_of_a_task_those_that_failed_today_are_found_beside_the_newest_of_all(
    served: Served, redis_url: str, migrated_url: str, tmp_path: Path
) -> None:
    with serving(config_of(redis_url, migrated_url, tmp_path, sizes=Sizes(searched_records=2))) as searches_two:
        failed = served.ended("echo", fail="of a task")
        oldest = served.ended("echo", mark="of a task")
        [_, newest, _] = [served.ended(name, **given) for name, given in OTHERS]
        everything = served.page("/jobs", task="echo")
        part = searches_two.page("/jobs", task="echo")
        complete = searches_two.page("/jobs", task="echo", status="complete")
        only_failed = searches_two.page("/jobs", task="echo", status="failed")
        of_queue = searches_two.page("/jobs", queue="default")
        exported = searches_two.client.get("/console/jobs/export.jsonl", params={"task": "echo"}).text
    assert "were searched" not in everything + only_failed
    assert [key in everything for key in (failed, oldest, newest)] == [True] * 3
    assert "the newest 2 and those that failed were searched, and all older ones" in part
    assert [key in part for key in (failed, oldest, newest)] == [True, False, True]
    assert "the newest 2 were searched, and all older ones" in complete
    assert [key in complete for key in (failed, oldest, newest)] == [False, False, True]
    assert failed in only_failed
    assert [key in of_queue for key in (failed, oldest, newest)] == [False, False, True]
    assert [key in exported for key in (failed, oldest, newest)] == [True] * 3


def test_pages_of_two_times_follow_each_other(served: Served) -> None:
    keys = [served.ended("echo", mark="parts", number=number) for number in range(5)]

    async def pages() -> list[list[str]]:
        found: list[list[str]] = []
        cursor = None
        async with history(served.saqueduct) as records:
            which = RecordFilter(arguments={"mark": "parts"})
            middle = (await records.page(which)).records[2].queued_at
            parts = [RecordFilter(arguments={"mark": "parts"}, since=middle)]
            parts.append(RecordFilter(arguments={"mark": "parts"}, until=middle))
            assert await records.counts(parts, ["complete"], 4, 60_000) == {"complete": 4}
            while not found or cursor is not None:
                page = await records.page_of(parts, cursor, 2)
                found.append([each.key for each in page.records])
                cursor = page.cursor
        return found

    newest = keys[::-1]
    assert served.run(pages()) == [newest[:2], newest[2:4], newest[4:]]


def test_without_postgresql_live_jobs_are_listed_and_the_page_says_that_history_is_away(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = served.ended("echo", mark="away")
    waits = served.enqueue("echo", delay=3600, mark="away")

    async def away(*_: object) -> None:
        raise asyncpg.CannotConnectNowError("the database system is shutting down")

    with monkeypatch.context() as patched:
        patched.setattr("saqueduct.console.job_rows._parts", away)
        for query in ({"q": "mark:away"}, {"q": "mark:away", "status": "queued"}):
            page = served.page("/jobs", **query)
            assert waits in page
            assert ended not in page
            assert "PostgreSQL does not answer: jobs that have ended are not shown." in page
        assert "No job that waits or runs matches." in served.page("/jobs", q="nobody-at-all")
        assert served.client.get("/console/jobs/export.csv").status_code >= 500
    assert ended in served.page("/jobs", q="mark:away")


def test_a_redis_that_hangs_is_noticed_in_time_and_said(
    redis_url: str, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    with serving(config_of(redis_url, migrated_url, tmp_path, ConsoleTimings(answer=0.1))) as served:
        with monkeypatch.context() as patched:
            patched.setattr(EngineQueue, "state", hang)
            assert "Redis does not answer." in served.page()
            assert served.client.get("/console/jobs", params={"status": "queued"}).status_code == 503
            assert served.client.get("/console/jobs").status_code == 200
        eventually_sync(lambda: "Redis does not answer." not in served.page())
