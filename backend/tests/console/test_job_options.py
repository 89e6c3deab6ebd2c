"""The options that a job carries, and those of its task, on the page of the job."""

import re
from html import unescape
from typing import Any

import msgspec
import pytest

from saqueduct import Context, Debounce, Fair, TaskRegistry, Unique
from saqueduct.console.job_options import options_of
from tests.console.conftest import MARKUP, Served, code_in


def options(page: str) -> dict[str, str]:
    """The options that the page of a job shows, by name."""
    found = re.search(r'<div id="options".*?</div>\s*</section>', page, re.DOTALL)
    pairs = re.findall(r"<dt>([^<]*)</dt><dd>(.*?)</dd>", found[0], re.DOTALL) if found else []
    return {name: unescape(re.sub(r"<[^>]+>", "", text)).strip() for name, text in pairs}


def test_a_job_shows_the_options_that_it_carries_and_those_of_its_task(served: Served) -> None:
    task = served.saqueduct.registry.get("hold")
    chosen = task.options(
        timeout=300, retries=4, retry_delay=5, retry_backoff=600.0, priority="high", ttl=-1, delay=3600, expires=7200
    )
    job = served.run(served.saqueduct.queues.enqueue(chosen, {"account": "secret-account"}))
    shown = options(served.page("/job", key=job.key))
    expected = {
        "priority": "high task: normal",
        "timeout": "5 min task: 10 s",
        "retries": "4 attempts task: 1 attempt",
        "retry_delay": "5.0 s task: none",
        "retry_backoff": "doubles, up to 10 min task: no",
        "ttl": "not kept task: 10 min",
        "heartbeat": "none",
        "at_most_once": "no",
        "durable": "no",
        "limits": "hold: 1 at once; provider: 90 in 10 s, burst 1",
        "record": "all",
    }
    assert {name: shown[name] for name in expected} == expected
    assert {"not before", "expires"} < shown.keys()


def test_a_job_that_redis_has_forgotten_shows_the_options_of_its_task(served: Served) -> None:
    key = served.ended("hold", account="gone", seconds=0)

    async def forget() -> None:
        await served.saqueduct.queues.get("default").redis.delete(f"saq:job:default:{key}")

    served.run(forget())
    page = served.page("/job", key=key)
    assert "its record does not keep its options" in page
    shown = options(page)
    assert (shown["timeout"], shown["record"]) == ("10 s", "all")
    assert shown["limits"] == "hold: 1 at once; provider: 90 in 10 s, burst 1"


def test_entries_of_other_programs_in_the_engines_names_break_no_page(served: Served) -> None:
    garbage = {
        f"saqueduct.{name}": value
        for name, value in {"limits": [[5]], "debounce": {}, "expires_at": "soon", "unique": MARKUP}.items()
    }
    job = {"function": "echo", "key": "strange", "queue": "default", "status": "queued", "meta": garbage}

    async def write() -> None:
        await served.saqueduct.queues.get("default").redis.set("saq:job:default:strange", msgspec.json.encode(job))

    served.run(write())
    page = served.page("/job", key="strange")
    assert options(page)["timeout"] == "10 s"
    assert code_in(page) == []


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("unique", Unique(by=("user_id",), on_conflict="raise"), "by user_id, raise"),
        ("unique", Unique(period=60), "by all arguments, ignore, for 1 min"),
        ("debounce", Debounce(5, max_wait=60), "5.0 s after the last call, at most 1 min after the first"),
        ("retry_on", (ConnectionError, ValueError), "ConnectionError, ValueError"),
        ("fair", Fair("tenant_id", weights={"acme": 4}), "by tenant_id"),
        ("redact", ("token",), "token"),
        ("retry_backoff", True, "doubles"),
        ("ttl", 0, "without limit"),
        ("record_logs", False, "no"),
    ],
)
def test_an_option_is_shown_in_words(name: str, value: Any, text: str) -> None:
    registry = TaskRegistry()

    async def sync(ctx: Context, *, user_id: int = 0, tenant_id: str = "", token: str = "") -> None: ...

    task = registry.task(**{name: value})(sync)
    assert {each.name: each.text for each in options_of(None, task).of_task}[name] == text
