"""Charts: what is drawn, what is said to those who do not see it, and where they come from."""

import datetime as dt
import time
from types import SimpleNamespace
from typing import Any

from saqueduct.common.durations import BUCKETS
from saqueduct.console.charts import LEAST, counts, durations
from saqueduct.console.failing import failing_arguments
from saqueduct.console.rendering import environment
from saqueduct.console.sparklines import spark
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.store import PostgresStore
from saqueduct.postgres.time_series import Numbers, Place
from saqueduct.postgres.time_steps import Point, Totals, Trend
from tests.console.conftest import MARKUP, Served, code_in

STEP = 60
START = 1_800_000_000


def numbers(complete: int = 0, failed: int = 0, runs: int = 0, bucket: int = 4) -> Numbers:
    found = Numbers.none()
    found.counts[1:3] = complete, failed
    found.runs[bucket] = runs
    found.seconds[1] = runs * BUCKETS[bucket]
    return found


def trend(*steps: Numbers) -> Trend:
    points = [
        Point(at=dt.datetime.fromtimestamp(START + STEP * place, dt.UTC), **each.fields())
        for place, each in enumerate(steps)
    ]
    total = Numbers.none()
    for each in steps:
        total = total.plus(each)
    return Trend(Totals(**total.fields()), points)


def macro(name: str, *arguments: Any) -> str:
    return str(getattr(environment().get_template("charts.html").module, name)(*arguments))


def test_one_failure_among_thousands_is_visible_and_columns_fit_the_plot() -> None:
    chart = counts("c", "Jobs", trend(numbers(2000, 1)), STEP, ("complete", "failed"), START + 600)
    complete, failed = chart.columns
    assert failed.height == LEAST
    assert failed.y + failed.height == complete.y
    assert (complete.y + complete.height, failed.y >= 0) == (100, True)


def test_a_step_that_is_not_over_is_marked() -> None:
    chart = counts("c", "Jobs", trend(numbers(1), numbers(1)), STEP, ("complete",), START + 90)
    assert [each.kind for each in chart.columns] == ["complete", "complete partial"]


def test_a_line_is_interrupted_where_nothing_ran() -> None:
    ran, nothing = numbers(runs=5), numbers()
    chart = durations("d", "Run time", trend(ran, ran, nothing, ran), STEP, "run")
    assert {each.d.count("M") for each in chart.paths} == {2}
    assert all(each.d.endswith("h250.0") for each in chart.paths)


def test_percentiles_are_on_a_scale_of_powers_of_ten() -> None:
    chart = durations("d", "Run time", trend(numbers(runs=5, bucket=1), numbers(runs=5, bucket=9)), STEP, "run")
    assert chart.ticks == ["10 s", "1 s", "100 ms", "10 ms", "1 ms"]


def test_a_chart_says_in_words_what_it_shows() -> None:
    chart = counts("c", "Jobs", trend(numbers(1200, 3), numbers(10)), STEP, ("complete", "failed"), START + 600)
    assert chart.summary == "From 2027-01-15 08:00 to 2027-01-15 08:01 UTC: 1,210 complete, 3 failed."
    page = macro("chart", chart)
    assert 'role="img"' in page
    assert f'<desc id="chart-c-desc">{chart.summary}</desc>' in page


def test_texts_of_a_chart_are_escaped() -> None:
    page = macro("chart", counts("c", MARKUP, trend(numbers(1)), STEP, ("complete",), START))
    assert code_in(page) == []
    assert code_in(macro("spark", [1, 2], MARKUP)) == []


def test_an_empty_time_says_so() -> None:
    assert "Nothing happened in this time." in macro("chart", durations("d", "Run time", trend(numbers()), STEP, "run"))
    assert spark([0, 0], "complete") == []


def test_without_a_history_the_page_says_what_to_set() -> None:
    assert "database_url" in macro("no_history", SimpleNamespace(keeps_records=False, keeps_history=False))
    assert "records=False" in macro("no_history", SimpleNamespace(keeps_records=True, keeps_history=False))
    assert "does not answer" in macro("no_history", SimpleNamespace(keeps_records=True, keeps_history=True))


def test_the_overview_shows_a_chosen_time_and_the_busiest_tasks(served: Served) -> None:
    minute = int(time.time()) // 60 * 60
    store = served.saqueduct.store
    assert isinstance(store, PostgresStore)
    served.run(store.add_history({Place(minute - 600, "default", f"busy {MARKUP}"): numbers(4321, 5, 4326)}))
    for span in ("", "day", "week"):
        page = served.page("", **({"span": span} if span else {}))
        assert "4,321 complete, 5 failed" in page, span
        assert "busy &lt;img" in page
        assert "4,326" in page
    assert code_in(page) == []


def test_an_unknown_time_is_refused(served: Served) -> None:
    answer = served.client.get("/console", params={"span": "wek"})
    assert answer.status_code == 400
    assert "did you mean &#39;week&#39;?" in answer.text


def test_a_queue_and_a_task_show_their_own_history(served: Served) -> None:
    minute = int(time.time()) // 60 * 60
    store = served.saqueduct.store
    assert isinstance(store, PostgresStore)
    found = {
        Place(minute - 600, "reports", "build_report"): numbers(77, 3, 80),
        Place(minute - 600, "default", "echo"): numbers(55, 1, 56),
    }
    served.run(store.add_history(found))
    queues = served.page("/queues", span="day")
    assert "77 complete, 3 failed" in queues
    task = served.page("/task", name="build_report")
    assert "77 complete, 3 failed" in task
    assert "55 complete" not in task
    assert 'aria-label="80 jobs ended in 30 days"' in served.page("/tasks")


def test_a_task_shows_its_slowest_jobs_and_the_arguments_that_fail(served: Served) -> None:
    for number in range(2):
        served.ended("send_email", to="bounce@example.com", subject=f"number {number}")
        served.ended("send_email", to=f"ada{number}@example.com")
    page = served.page("/task", name="send_email")
    assert "Slowest jobs" in page
    assert page.count("/console/job?key=") >= 4
    assert "to: &#34;bounce@example.com&#34;" in page
    assert "q=to%3Abounce%40example.com" in page


def test_arguments_that_complete_jobs_have_as_often_do_not_stand_out() -> None:
    failed = [{"kind": "sales", "rows": rows} for rows in (900, 900, 7)]
    found = failing_arguments(failed, [{"kind": "sales", "rows": 7}] * 9)
    assert [(each.name, each.value, each.failed) for each in found] == [("rows", "900", 2)]
    assert failing_arguments([], []) == []


def test_failing_arguments_are_without_what_the_task_redacts_by_now(served: Served) -> None:
    now = dt.datetime.now(dt.UTC)
    row = {"task": "build_report", "queue": "reports", "status": "failed", "attempts": 1}
    times = dict.fromkeys(("queued_at", "started_at", "ended_at"), now)
    arguments = {"kind": "of the past", "token": "s3cr3t"}

    async def record() -> None:
        store = served.saqueduct.store
        assert store is not None
        async with store.sessions.begin() as session:
            session.add_all(JobRecord(**row, **times, key=f"past-{number}", arguments=arguments) for number in range(2))

    served.run(record())
    page = served.page("/task", name="build_report")
    assert "kind: &#34;of the past&#34;" in page
    assert "s3cr3t" not in page
    assert ">token: " not in page
