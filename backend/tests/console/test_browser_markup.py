"""Stored markup in Chromium: text that would run, or change the page, in every place that text of others can reach."""

import datetime as dt
import logging
from collections.abc import Iterator
from functools import partial
from html import unescape
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from playwright.sync_api import Page
from redis import Redis

from saqueduct import Concurrency, Context, SaqueductConfig, TaskRegistry
from saqueduct.postgres.models import AuditRow
from saqueduct.timings import Timings
from tests.console.conftest import ADMIN, PATIENT, Served, serving
from tests.fixtures.poll import eventually_sync

pytestmark = [pytest.mark.browser]

PAYLOADS = [
    "<script class=x>document.title='owned'</script>",
    "</script></style></title></textarea></pre><img class=x src=x onerror=\"document.title='owned'\">",
    "\"><svg class=x onload=document.title='owned'>",
    "'><iframe class=x srcdoc='<script>parent.document.title=1</script>'></iframe>",
    "' autofocus onfocus='document.title=1' class='x",
    "javascript:document.title='owned'//",
    "data:text/html,<script>alert(1)</script>",
    "--><b class=x>bold</b><!--",
    "<a class=x href=javascript:alert(1)>link</a>",
    "<base class=x href=https://evil.example/><form class=x action=https://evil.example/>",
    "<link class=x rel=stylesheet href=https://evil.example/x.css><style class=x>*{display:none}</style>",
    "<meta class=x http-equiv=refresh content='0;url=https://evil.example/'>",
    "{{ 7*7 }}{% raw %}${7*7}",
    "<template class=x><math><mtext><style><img class=x src onerror=alert(1)>",
    "<details class=x open ontoggle=alert(1)><input class=x name=token value=stolen id=help>",
    "&lt;img class=x&gt;&#60;b class=x&#62;",
]

GROUPS = ["".join(PAYLOADS[start : start + 4]) for start in range(0, len(PAYLOADS), 4)]
"""All of them in texts that fit into the longest names."""

STRANGE = """() => [...document.querySelectorAll(
  ".x, iframe, object, embed, base, style, link[href*=evil], meta[http-equiv], [srcdoc], [autofocus], [ontoggle]," +
  "script:not([type=module]), form[action*=evil], [href^='javascript:' i], [href^='data:' i], [src^='data:' i]"
)].map((each) => each.outerHTML).concat([...document.querySelectorAll("*")].flatMap(
  (each) => [...each.attributes].filter(({ name }) => name.startsWith("on") || name === "style").map(({ name }) => name)
))"""
"""Elements and attributes that no page of the console has."""


def tasks() -> TaskRegistry:
    """A task for each group, with markup in all that names and describes it, and some for one way of showing text."""
    registry = TaskRegistry()
    for number, group in enumerate(GROUPS):

        async def marked(ctx: Context, /, **anything: Any) -> Any:
            logging.getLogger(GROUPS[0]).warning("%s", GROUPS)
            if "fail" in anything:
                raise ValueError(GROUPS) from ConnectionError(*GROUPS)
            return dict.fromkeys(GROUPS, GROUPS)

        marked.__doc__ = f"{GROUPS}\n\n{GROUPS}"
        schedule = registry.scheduled_task(
            cron="0 3 * * 1", key=f"schedule {group}", name=f"task {group}", queue=GROUPS[0], tags=tuple(GROUPS),
            record_logs=True, overlap="queue",
        )  # fmt: skip
        schedule(marked)
        limits = (Concurrency(1, by="account", name=f"limit {group}"),)

        @registry.task(name=f"hold {number}", queue=GROUPS[1], limits=limits)
        async def hold(ctx: Context, *, account: str = GROUPS[0]) -> str:
            return account

    return registry


@pytest.fixture(scope="module")
def served(redis_url: str, migrated_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An application in which nearly every text is markup."""
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    config = SaqueductConfig(
        redis_url=redis_url,
        database_url=migrated_url,
        database_connect_timeout=20.0,
        registry=tasks(),
        queues=GROUPS[:2],
        run_workers="web",
        admin_username=ADMIN[0],
        admin_password=ADMIN[1],
        secret_key="tests only, no secret, but long enough",
        data_directory=tmp_path_factory.mktemp("markup"),
        timings=Timings(console=PATIENT),
    )
    with serving(config) as served:
        _fill(served)
        yield served


def _fill(served: Served) -> None:
    """Put the texts where jobs, workers and people put theirs."""
    served.run(served.saqueduct.queues.get(GROUPS[1]).pause(GROUPS[2], GROUPS[3]))
    served.run(served.saqueduct.queues.pause_schedule(f"schedule {GROUPS[0]}", GROUPS[2], GROUPS[3]))
    served.enqueue("hold 0", key=GROUPS[0], account=GROUPS[1])
    for group in GROUPS:
        fails: dict[str, Any] = {"fail": f"\u202e\u2028{group}", group: GROUPS}
        served.enqueue(f"task {group}", key=f"failed {group}", **fails)
    completes: dict[str, Any] = dict.fromkeys(GROUPS, GROUPS)
    served.enqueue(f"task {GROUPS[0]}", key="complete", **completes)
    served.note("/limits/set", limit_name=f"limit {GROUPS[0]}", limit="3", why=GROUPS[3])
    served.note("/job/abort", {"key": GROUPS[0], "queue": GROUPS[1], "why": GROUPS[2]})
    for group in GROUPS:
        eventually_sync(partial(_has, served, f"failed {group}", "Ended failed"), within=60)
    eventually_sync(partial(_has, served, "complete", "Ended complete"), within=60)
    served.run(_write(served))


def _has(served: Served, key: str, text: str) -> bool:
    return text in served.page("/job", key=key)


async def _write(served: Served) -> None:
    """What programs of others may write: a job, the report of a worker, and entries of the audit."""
    queue = served.saqueduct.queues.get(GROUPS[0])
    names = ("schedule", "parent", "trace_id", "replay_of", "attempt_trace")
    meta = {f"saqueduct.{name}": GROUPS[0] for name in names} | {"saqueduct.tags": GROUPS}
    texts = {"function": GROUPS[1], "key": "raw", "error": "\n".join(GROUPS), "worker_id": GROUPS[2]}
    job = {**texts, "queue": queue.name, "status": "failed", "completed": 1, "started": 1, "queued": 1, "meta": meta}
    await queue.redis.set(queue.job_id("raw"), msgspec.json.encode(job))
    report = {"stats": {}, "metadata": {GROUPS[0]: GROUPS[1], "version": GROUPS[2]}, "queue_key": GROUPS[3]}
    place = queue.namespace(f"worker_info:{GROUPS[0]}")
    await queue.redis.set(place, msgspec.json.encode(report), px=600_000)
    now = dt.datetime.now(dt.UTC)
    await queue.redis.zadd(queue.namespace("stats"), {place: (now.timestamp() + 600) * 1000})
    store = served.saqueduct.store
    assert store is not None
    text: dict[str, Any] = dict.fromkeys(("person", "role", "task", "queue", "why", "surface", "address"), GROUPS[0])
    async with store.sessions.begin() as session:
        for kind, action in (("job", "enqueue"), (GROUPS[1], GROUPS[2])):
            row = {**text, "at": now, "kind": kind, "action": action, "filter": {GROUPS[3]: GROUPS}}
            session.add(AuditRow(**row, targets=GROUPS))


def address(path: str, **query: str) -> str:
    return f"{path}?{urlencode(query)}" if query else path


PAGES = {
    "overview": "",
    "jobs": "/jobs",
    "jobs-failed": address("/jobs", status="failed"),
    "jobs-searched": address("/jobs", q=GROUPS[0], task=GROUPS[1], tag=GROUPS[2], error=GROUPS[3], since=GROUPS[0]),
    "jobs-all": address("/jobs/all", action="retry", q="fail", task=f"task {GROUPS[0]}", tag=GROUPS[2]),
    "dead-letters": "/dead-letters",
    "dead-letters-all": address("/dead-letters/all", action="discard", error=GROUPS[0], task=f"task {GROUPS[0]}"),
    "tasks": "/tasks",
    "task": address("/task", name=f"task {GROUPS[0]}", key=f"failed {GROUPS[0]}", queue=GROUPS[0], replay="1"),
    "task-of-a-limit": address("/task", name="hold 0"),
    "task-unknown": address("/task", name=GROUPS[0]),
    "queues": "/queues",
    "workers": "/workers",
    "schedules": "/schedules",
    "limits": "/limits",
    "audit": address("/audit"),
    "audit-filtered": address("/audit", person=GROUPS[0], target=GROUPS[1]),
    "job-failed": address("/job", key=f"failed {GROUPS[0]}", queue=GROUPS[0]),
    "job-complete": address("/job", key="complete"),
    "job-aborted": address("/job", key=GROUPS[0]),
    "job-of-others": address("/job", key="raw"),
    "job-unknown": address("/job", key=GROUPS[0] + "?"),
    "parameter-unknown": address("/queues", **{GROUPS[0]: GROUPS[1]}),
    "login": address("/login", next=GROUPS[0]),
}


REFRESH = """async () => {
  const region = document.querySelector("[data-region]");
  document.dispatchEvent(new Event("visibilitychange"));
  const word = document.querySelector("#live-state .word");
  // Open filters hold it up, and the page of an error stays as it is.
  while (region && region.dataset.source === undefined && !/Paused|answers/.test(word.textContent)) {
    await new Promise((done) => setTimeout(done, 20));
  }
}"""
"""A live update, which puts the parts of a page in place by the script."""


@pytest.mark.parametrize("name", PAGES)
def test_no_text_of_others_is_markup(page: Page, served: Served, name: str) -> None:
    page.goto(f"{served.url}{PAGES[name]}")
    assert page.evaluate(STRANGE) == []
    page.evaluate(REFRESH)
    assert page.evaluate(STRANGE) == []


def test_the_texts_are_on_the_pages(served: Served) -> None:
    """Otherwise the pages before show nothing."""
    for name, path in PAGES.items():
        text = served.client.get(f"/console{path}").text
        missing = [payload for payload in PAYLOADS if payload[:20] not in unescape(text)]
        assert len(missing) < len(PAYLOADS) or name in ("parameter-unknown", "login"), name
