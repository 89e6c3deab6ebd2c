"""Records of before their task redacted an argument: its values are shown nowhere, and no search finds them."""

import datetime as dt
from typing import Any

import pytest

from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.record_sessions import history
from tests.console.conftest import Served

VALUE = "abcd-hushed-efgh"

REPORT = {"kind": "of the past", "token": VALUE}

FURTHER = {"plain": "seen", "pin": VALUE}

ERROR = f"Traceback (most recent call last):\nValueError: refused {VALUE} of old"


@pytest.fixture(scope="module", autouse=True)
def past(served: Served) -> None:
    """Two failed jobs with the value in their arguments and their error, and one that was redacted as it ended."""
    now = dt.datetime.now(dt.UTC)
    times = dict.fromkeys(("queued_at", "started_at", "ended_at"), now)
    jobs: list[dict[str, Any]] = [
        {"key": "of-named", "task": "build_report", "arguments": REPORT, "error": ERROR},
        {"key": "of-further", "task": "hidden", "arguments": FURTHER, "error": ERROR},
        {
            "key": "redacted",
            "task": "build_report",
            "arguments": {**REPORT, "token": "[redacted]"},
            "error": ERROR.replace(VALUE, "[redacted]"),
        },
    ]

    async def record() -> None:
        assert served.saqueduct.store is not None
        async with served.saqueduct.store.sessions.begin() as session:
            session.add_all(JobRecord(**job, **times, queue="reports", status="failed", attempts=1) for job in jobs)

    served.run(record())


def found(served: Served, **query: str) -> set[str]:
    """The keys of the jobs that a search finds, in the list, the dead letters and the API alike."""
    page, letters = served.page("/jobs", **query), served.page("/dead-letters", **query)
    assert "hushed" not in page or "hushed" in str(query)
    keys = {key for key in ("of-named", "of-further", "redacted") if f"job?key={key}&" in page}
    assert keys == {key for key in ("of-named", "of-further", "redacted") if f"job?key={key}&" in letters}
    return keys


def test_groups_and_lists_do_not_show_it(served: Served) -> None:
    for page in (served.page("/dead-letters"), served.page("/jobs"), served.page("/")):
        assert "hushed" not in page
    assert "refused … of old" in served.page("/dead-letters")


def test_a_group_counts_what_its_link_finds(served: Served) -> None:
    page = served.page("/dead-letters")
    groups = page[page.index('<table id="groups"') : page.index("</table>")]
    assert groups.count('class="task"') == 1
    assert '<td class="n">1</td>' in groups
    assert found(served, task="build_report", error="refused") == {"redacted"}


@pytest.mark.parametrize("search", [VALUE, "abcd", "refused abcd", "hushed-efgh of old"])
def test_no_text_finds_it(served: Served, search: str) -> None:
    assert found(served, q=search) == set()
    assert found(served, error=search) == set()


def test_no_argument_finds_it(served: Served) -> None:
    assert found(served, q=f"token:{VALUE}") == set()
    assert found(served, q=f"pin:{VALUE}") == set()


def test_what_is_shown_is_found(served: Served) -> None:
    assert found(served, q='kind:"of the past"') == {"of-named", "redacted"}
    assert found(served, q="plain:seen") == {"of-further"}
    assert found(served, q="token:[redacted]") == {"redacted"}
    assert found(served, q="of the past") == found(served, error="of old") == {"redacted"}
    assert found(served, task="hidden") == {"of-further"}


def test_a_count_does_not_tell_it(served: Served) -> None:
    async def count() -> dict[str, int] | None:
        async with history(served.saqueduct) as records:
            return await records.counts([RecordFilter(text=VALUE)], ["failed"], 10, 60_000)

    assert served.run(count()) == {"failed": 0}
    for query in ({"q": f"token={VALUE}"}, {"error": VALUE}):
        answer = served.client.get("/queue/jobs", params={"status": "failed", **query})
        assert answer.json() == {"jobs": [], "cursor": None, "searched_since": None}


def test_all_that_match_are_not_changed_by_it(served: Served) -> None:
    for query in ({"q": VALUE}, {"error": VALUE}, {"q": f"token:{VALUE}"}):
        assert "<strong>0</strong> dead letters match" in served.page("/dead-letters/all", action="discard", **query)
