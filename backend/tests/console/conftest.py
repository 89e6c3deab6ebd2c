"""One application with the console for each module of tests, served by uvicorn in a thread of this process."""

import asyncio
import datetime as dt
import logging
import re
import threading
from collections.abc import Coroutine, Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import httpx
import pytest
import uvicorn
from litestar import Litestar
from redis import Redis
from sqlalchemy import text

from saqueduct import Concurrency, Context, Rate, Saqueduct, SaqueductConfig, TaskRegistry
from saqueduct.common.password_hash import hash_password
from saqueduct.litestar import SaqueductPlugin
from saqueduct.litestar.access import Access
from saqueduct.postgres.models import metadata
from saqueduct.sizes import Sizes
from saqueduct.timings import ConsoleTimings, PostgresTimings, Timings
from tests.console.browser import page_fixture, tab_fixture  # noqa: F401
from tests.console.payments import Address, pay
from tests.fixtures.kept_alive import KEPT_ALIVE
from tests.fixtures.poll import eventually_sync
from tests.fixtures.ports import free_port

T = TypeVar("T")

PASSWORD = "correct horse battery staple"
ADMIN = ("ada", PASSWORD)
OPERATOR = ("olga", "keeps it running")
VIEWER = ("vera", "only looks at things")

MARKUP = (
    "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>'\"--><b>{{7*7}}"
)
"""Text that would run, or change the page, wherever it was not escaped."""


def tasks() -> TaskRegistry:
    """The tasks of the application."""
    registry = TaskRegistry()

    @registry.task(tags=("mail",))
    async def send_email(ctx: Context, *, to: str, subject: str = "Hello", urgent: bool = False) -> str:
        """Send a mail to a customer.

        A second paragraph.
        """
        if "bounce" in to:
            raise ConnectionError(f"mailbox of {to} is unavailable")
        return f"sent to {to}"

    @registry.task(queue="reports", redact=("token",))
    async def build_report(
        ctx: Context,
        *,
        month: dt.date,
        kind: Literal["sales", "stock"] = "sales",
        rows: int = 100,
        address: Address | None = None,
        at: dt.datetime | None = None,
        ids: list[int] | None = None,
        token: str = "",
    ) -> dict[str, Any]:
        """Build a report."""
        return {"rows": rows, "month": month, "exact": 12345678901234567890}

    @registry.task
    async def echo(ctx: Context, /, **anything: Any) -> Any:
        if "fail" in anything:
            raise ValueError(anything["fail"])
        return anything

    @registry.task(redact=("secrets",))
    async def hidden(ctx: Context, /, *, plain: str = "", **secrets: Any) -> None:
        raise ValueError("of no use")

    @registry.task(name=f"task {MARKUP}", tags=("<b>tag</b>",))
    async def marked(ctx: Context, *, text: str = MARKUP) -> str:
        raise ValueError(text)

    @registry.task
    async def parent(ctx: Context, *, text: str) -> None:
        await echo.enqueue(text=text)
        await echo.options(delay=3600).enqueue(text=text)

    @registry.task(record_logs=True)
    async def logs(ctx: Context, *, line: str) -> None:
        logging.getLogger("shop").warning("line %s", line)

    @registry.task
    async def wait(ctx: Context, *, seconds: float = 600.0) -> None:
        await asyncio.sleep(seconds)

    @registry.task(limits=(Concurrency(1, by="account"), Rate("provider", 90, per=10)))
    async def hold(ctx: Context, *, account: str, seconds: float = 600.0) -> None:
        await asyncio.sleep(seconds)

    @registry.scheduled_task(cron="0 3 * * 1", timezone="Europe/Berlin")
    async def weekly(ctx: Context) -> None:
        """Once a week."""

    registry.task(pay)
    return registry


class _Code(HTMLParser):
    """Collects what no page of the console has: elements and attributes that contain code."""

    def __init__(self) -> None:
        super().__init__()
        self.strange: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (
                name.startswith("on")
                or name in ("style", "autofocus")
                or (name == "href" and "script:" in (value or "/")[:12])
            ):
                self.strange.append(f"{tag} {name}")
        if tag in ("img", "b", "style", "iframe") or (tag == "script" and dict(attrs).get("type") != "module"):
            self.strange.append(tag)


def code_in(page: str) -> list[str]:
    """What a page has that could run, or was not escaped."""
    parser = _Code()
    parser.feed(page)
    return parser.strange


class Served(NamedTuple):
    """An application that is served."""

    url: str
    """Of the console."""
    client: httpx.Client
    """Of the admin, without cookies of the browser tests."""
    saqueduct: Saqueduct
    access: Access
    loop: asyncio.AbstractEventLoop
    admin: tuple[str, str] = ADMIN
    """Name and password."""

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """The answer of a coroutine that runs in the event loop of the server."""
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(60)

    def enqueue(
        self,
        task: str,
        *,
        key: str | None = None,
        queue: str | None = None,
        delay: float | None = None,
        timeout: int | None = None,
        **arguments: Any,
    ) -> str:
        """Enqueue a job; returns its key."""
        chosen = self.saqueduct.registry.get(task).options(key=key, queue=queue, delay=delay, timeout=timeout)

        async def enqueue() -> str:
            return (await self.saqueduct.queues.enqueue(chosen, arguments)).key

        return self.run(enqueue())

    def ended(self, task: str, **arguments: Any) -> str:
        """Enqueue a job, and wait for its record; returns its key."""
        key = self.enqueue(task, **arguments)

        def recorded() -> bool:
            answer = self.client.get(f"/queue/jobs/{key}/history")
            return answer.status_code == 200 and answer.json()[0]["ended_at"] is not None

        eventually_sync(recorded)
        return key

    def page(self, path: str = "", **query: Any) -> str:
        """The text of a page, which answers 200."""
        answer = self.client.get(f"/console{path}", params=query or None)
        assert answer.status_code == 200, answer.text
        return answer.text

    def submit(self, path: str, fields: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
        """Send a form of the console with its token; follows no redirect."""
        found = re.search(r'name="token" value="([^"]+)"', self.page())
        assert found is not None
        return self.client.post(f"/console{path}", data={"token": unescape(found[1]), **(fields or {}), **more})

    def note(self, path: str, fields: dict[str, Any] | None = None, **more: Any) -> str:
        """Send a form, and return what the page after it says."""
        answer = self.submit(path, fields, **more)
        assert answer.status_code == 303, answer.text
        after = self.client.get(answer.headers["location"])
        assert after.status_code == 200, after.text
        found = re.search(r'<div class="note [^>]*>(.*?)</div>', after.text, re.DOTALL)
        assert found is not None, after.text
        return unescape(re.sub(r"<[^>]+>", "", found[1])).strip()


PATIENT = ConsoleTimings(
    # Parts of pages that are left out where they take too long are there on a busy machine too.
    answer=20.0,
    charts=20.0,
    count=60.0,
    runs=60.0,
    # Each search looks which records are the newest.
    newest_kept=1e-9,
)
INDEXED = PostgresTimings(unindexed=1e-3)
"""The indexes of yesterday's records are there at midnight."""


@pytest.fixture(scope="session")
def usual(redis_url: str, migrated_url: str, tmp_path_factory: pytest.TempPathFactory) -> "serving":
    """Started again for each module: to build the application takes longer than most tests."""
    return serving(config_of(redis_url, migrated_url, tmp_path_factory.mktemp("console")))


@pytest.fixture(scope="module")
def served(redis_url: str, usual: "serving") -> Iterator[Served]:
    """The application with a worker of its own, an empty Redis and empty tables."""
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    with usual as served:
        yield served


def config_of(
    redis_url: str,
    database_url: str,
    directory: Path,
    timings: ConsoleTimings = PATIENT,
    sizes: Sizes = Sizes(),  # noqa: B008
) -> SaqueductConfig:
    """The configuration of the application."""
    return SaqueductConfig(
        redis_url=redis_url,
        database_url=database_url,
        database_connect_timeout=20.0,
        registry=tasks(),
        queues=["default", "reports"],
        run_workers="web",
        admin_username=ADMIN[0],
        admin_password=ADMIN[1],
        credentials=[
            f"{name}:{role}:{hash_password(password, log_n=10)}"
            for role, (name, password) in (("viewer", VIEWER), ("operator", OPERATOR))
        ],
        secret_key="tests only, no secret, but long enough",
        data_directory=directory,
        timings=Timings(console=timings, postgres=INDEXED),
        sizes=sizes,
    )


class serving:  # noqa: N801
    """Serves an application in a block, or in several, one after another.

    Args:
        config: of the library.
        options: of Litestar.
    """

    def __init__(self, config: SaqueductConfig, **options: Any) -> None:
        self._plugin = SaqueductPlugin(config)
        started = [self._started]
        self._app = Litestar([], plugins=[self._plugin], on_startup=started, logging_config=None, **options)

    async def _started(self) -> None:
        self._loop = asyncio.get_running_loop()
        if (store := self._plugin.saqueduct.store) is not None:
            async with store.sessions.begin() as session:
                for table in reversed(metadata.sorted_tables):
                    await session.execute(text(f'DELETE FROM "{table.name}"'))  # noqa: S608

    def __enter__(self) -> Served:
        port = free_port()
        config = uvicorn.Config(self._app, port=port, log_level="error", timeout_graceful_shutdown=1, lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        eventually_sync(lambda: self._server.started or not self._thread.is_alive())
        assert self._server.started
        root = f"http://127.0.0.1:{port}"
        self._client = httpx.Client(base_url=root, auth=ADMIN, timeout=60, limits=KEPT_ALIVE, trust_env=False)
        return Served(f"{root}/console", self._client, self._plugin.saqueduct, self._plugin.access, self._loop)

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.should_exit = True
        self._thread.join(60)
