"""SaqueductPlugin in Litestar applications of this process."""

import asyncio
import base64
import hashlib
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.testing import TestClient
from litestar_saq import TaskQueues

from saqueduct import ConfigurationError, Context, TaskRegistry, get_registry, task
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin
from tests.conftest import running
from tests.fixtures.poll import eventually

SECRET = "tests only, no secret, but long enough"
VARIABLES = (
    "REDIS_URL",
    "DATABASE_URL",
    "ENVIRONMENT",
    "ADMIN_USERNAME",
    "ADMIN_PASSWORD",
    "ADMIN_TOKEN",
    "SECRET_KEY",
)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, empty_redis: None) -> Iterator[None]:
    """Only the tasks of the test, and nothing from the environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with get_registry().isolated():
        yield


@pytest.fixture
def config(redis_url: str) -> SaqueductConfig:
    return SaqueductConfig(redis_url=redis_url, secret_key=SECRET, grace_period=5)


def application(config: SaqueductConfig, *handlers: Any, **options: Any) -> Litestar:
    return Litestar(list(handlers), plugins=[SaqueductPlugin(config)], logging_config=None, **options)


@asynccontextmanager
async def client_of(app: Litestar, address: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(cast("Any", app), raise_app_exceptions=False, client=(address, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client


@asynccontextmanager
async def served(app: Litestar, address: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    async with running(app), client_of(app, address) as client:
        yield client


async def test_handlers_enqueue_by_task_and_by_name_for_a_worker_in_the_web_process(
    config: SaqueductConfig,
) -> None:
    @task
    async def add(ctx: Context, *, a: int, b: int) -> int:
        return a + b

    @post("/by-task")
    async def by_task() -> str:
        return (await add.enqueue(a=1, b=2)).key

    @post("/by-name")
    async def by_name(task_queues: NamedDependency[TaskQueues]) -> str:
        job = await task_queues.get("default").enqueue("add", a=3, b=4)
        assert job is not None
        return job.key

    config.run_workers = "web"
    async with served(application(config, by_task, by_name)) as client:
        for path, result in (("/by-task", 3), ("/by-name", 7)):
            key = (await client.post(path)).text

            async def ended(key: str = key) -> Any:
                job = (await client.get(f"/queue/jobs/{key}")).json()
                return job if job["status"] == "complete" else None

            assert (await eventually(ended))["result"] == result


async def test_a_worker_in_the_web_process_lets_its_job_end_at_shutdown_and_leaves_the_signals_alone(
    config: SaqueductConfig,
) -> None:
    started, finish, after = asyncio.Event(), asyncio.Event(), []

    @task
    async def slow(ctx: Context) -> None:
        started.set()
        await finish.wait()
        after.append("job")

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        yield
        after.append("lifespan")

    config.run_workers = "web"
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with running(application(config, lifespan=[lifespan])):
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
        await slow.enqueue()
        await started.wait()
        asyncio.get_running_loop().call_later(0.1, finish.set)
    assert after == ["job", "lifespan"]


async def test_without_run_workers_no_worker_runs(config: SaqueductConfig) -> None:
    app = application(config)
    async with running(app):
        [queue] = app.plugins.get(SaqueductPlugin).saqueduct.queues
        assert (await queue.stats()).workers == 0


async def test_the_tasks_of_several_applications_go_to_the_queues_of_each(redis_url: str) -> None:
    @task
    async def note(ctx: Context) -> None: ...

    @post("/note")
    async def enqueue() -> str:
        return (await note.enqueue()).key

    configs = [SaqueductConfig(redis_url=f"{redis_url}?db={number}", secret_key=SECRET) for number in (1, 2)]
    first, second = (application(each, enqueue) for each in configs)
    async with running(first), running(second), client_of(first) as one, client_of(second) as two:
        keys = [(await client.post("/note")).text for client in (one, two, one)]
        for app, mine in ((first, [keys[0], keys[2]]), (second, [keys[1]])):
            [queue] = app.plugins.get(SaqueductPlugin).saqueduct.queues
            assert await queue.count("queued") == len(mine)
            assert all([await queue.job(key) for key in mine])
            await queue.redis.flushdb()


async def test_a_job_enqueues_on_the_queues_of_its_own_application(redis_url: str) -> None:
    ran_on: list[Any] = []

    @task
    async def child(ctx: Context) -> None:
        ran_on.append(ctx["queue"])

    @task
    async def parent(ctx: Context) -> None:
        await child.enqueue()

    @post("/parent")
    async def enqueue() -> None:
        await parent.enqueue()

    configs = [
        SaqueductConfig(redis_url=f"{redis_url}?db={number}", secret_key=SECRET, run_workers="web") for number in (1, 2)
    ]
    first, second = (application(each, enqueue) for each in configs)
    async with running(first), running(second), client_of(first) as client:
        await client.post("/parent")
        await eventually(lambda: ran_on)
        assert ran_on == list(first.plugins.get(SaqueductPlugin).saqueduct.queues)


def test_a_second_plugin_of_one_application_is_refused(config: SaqueductConfig) -> None:
    with pytest.raises(ConfigurationError, match=r"one SaqueductPlugin: name all queues in its SaqueductConfig"):
        Litestar([], plugins=[SaqueductPlugin(config), SaqueductPlugin(config)])


async def test_a_registry_of_its_own_keeps_the_tasks_of_an_application_apart(config: SaqueductConfig) -> None:
    @task
    async def other(ctx: Context) -> None: ...

    config.registry = TaskRegistry()
    async with served(application(config)) as client:
        assert (await client.get("/queue/tasks")).json() == []


async def test_paths_can_be_chosen_and_left_out(config: SaqueductConfig) -> None:
    config.api_path, config.ui_path = "/jobs-api", None
    async with served(application(config)) as client:
        assert (await client.get("/jobs-api/tasks")).status_code == 200
        assert (await client.get("/queue/tasks")).status_code == 404
        assert (await client.get("/saq/")).status_code == 404
    config.api_path, config.ui_path = None, "/ui"
    async with served(application(config)) as client:
        assert (await client.get("/jobs-api/tasks")).status_code == 404
        assert "<title>SAQ</title>" in (await client.get("/ui/")).text


def assert_page_at(page: httpx.Response, root: str) -> None:
    """SAQ's page loads its files from `root`, and its policy allows its script."""
    assert page.status_code == 200
    assert re.findall(r'(?:href|src)="(.*?)"', page.text) == [
        f"{root}/static/{name}" for name in ("pico.min.css.gz", "snabbdom.js.gz", "app.js")
    ]
    script = f'const root_path = "{root}";'
    assert f"<script>{script}</script>" in page.text
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]


async def test_below_the_path_of_the_application_the_page_finds_its_files(config: SaqueductConfig) -> None:
    async with served(application(config, path="/api")) as client:
        assert (await client.get("/api/saq")).headers["location"] == "/api/saq/"
        assert_page_at(await client.get("/api/saq/"), "/api/saq")
        assert (await client.get("/api/saq/static/app.js")).status_code == 200
        assert (await client.get("/api/saq/api/queues")).status_code == 200
        assert (await client.get("/saq/")).status_code == 404


async def test_behind_a_proxy_with_a_path_the_page_finds_its_files(config: SaqueductConfig) -> None:
    app = application(config, path="/api")
    transport: Any = httpx.ASGITransport(cast("Any", app), root_path="/shop")
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        assert (await client.get("/api/saq")).headers["location"] == "/shop/api/saq/"
        assert_page_at(await client.get("/api/saq/"), "/shop/api/saq")


@pytest.mark.parametrize(("base", "api"), [("/api", "/queue"), ("api/", "queue/"), ("/v1/api", "/")])
async def test_below_the_path_of_the_application_the_api_works(config: SaqueductConfig, base: str, api: str) -> None:
    @task
    async def note(ctx: Context) -> None: ...

    config.api_path = api
    root = "/".join(["", *(part for part in f"{base}/{api}".split("/") if part)])
    async with served(application(config, path=base)) as client:
        made = await client.post(f"{root}/tasks/note?key=tenant/7", json={})
        assert made.headers["location"].startswith(f"{root}/jobs/tenant%2F7")
        assert (await client.get(made.headers["location"])).json()["key"] == "tenant/7"
        assert (await client.get(f"{root}/queues?colour=red")).status_code == 400
        document = (await client.get(f"{base.strip('/')}/schema/openapi.json")).json()
        assert f"{root}/tasks/note" in document["paths"]
        assert "503" in document["paths"][f"{root}/queues"]["get"]["responses"]


OF_THE_ADMIN = ("/saq/", "/saq/static/app.js", "/saq/api/queues", "/queue/queues")


async def test_in_development_without_credentials_only_this_machine_may_call(config: SaqueductConfig) -> None:
    app = application(config)
    async with running(app), client_of(app) as here, client_of(app, "192.0.2.7") as elsewhere:
        for path in OF_THE_ADMIN:
            assert [(await client.get(path)).status_code for client in (here, elsewhere)] == [200, 401], path


async def test_credentials_open_the_admin_routes_to_other_machines(config: SaqueductConfig) -> None:
    config.admin_password, config.admin_token = "right", "token"
    async with served(application(config), "192.0.2.7") as client:
        for path in OF_THE_ADMIN:
            assert (await client.get(path)).status_code == 401, path
            assert (await client.get(path, auth=("admin", "wrong"))).status_code == 401, path
            assert (await client.get(path, auth=("admin", "right"))).status_code == 200, path
            assert (await client.get(path, headers={"Authorization": "Bearer token"})).status_code == 200, path


async def test_guards_of_the_application_take_the_place_of_credentials(config: SaqueductConfig) -> None:
    async def staff(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if connection.headers.get("x-user") != "staff":
            raise NotAuthorizedException

    config.guards = [staff]
    async with served(application(config), "192.0.2.7") as client:
        for path in OF_THE_ADMIN:
            assert (await client.get(path)).status_code == 401, path
            assert (await client.get(path, headers={"X-User": "staff"})).status_code == 200, path


async def test_a_handler_whose_enqueue_finds_no_redis_is_answered_503(config: SaqueductConfig) -> None:
    @task
    async def add(ctx: Context) -> None: ...

    @post("/add")
    async def enqueue() -> str:
        return (await add.enqueue()).key

    config.redis_url = "unix:///nowhere/redis.sock"
    async with served(application(config, enqueue)) as client:
        answer = await client.post("/add")
        assert (answer.status_code, answer.json()["code"]) == (503, "queue-unavailable")
        assert int(answer.headers["Retry-After"]) > 0


def test_an_application_can_be_started_again_in_another_event_loop(config: SaqueductConfig) -> None:
    @task
    async def add(ctx: Context, *, a: int, b: int) -> int:
        return a + b

    @post("/add")
    async def enqueue() -> int:
        return await (await add.enqueue(a=1, b=2)).result(timeout=60)

    config.run_workers = "web"
    app = application(config, enqueue)
    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/add").text == "3"


def test_without_a_secret_key_a_folder_that_cannot_be_written_is_an_error(config: SaqueductConfig) -> None:
    config.secret_key, config.data_directory = "", "/dev/null/nowhere"
    with pytest.raises(ConfigurationError, match="set SECRET_KEY"):
        application(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "ADMIN_PASSWORD or ADMIN_TOKEN"),
        ({"admin_password": "right", "secret_key": ""}, "SECRET_KEY"),
        ({"admin_password": "right", "secret_key": "short"}, "SECRET_KEY"),
        ({"admin_password": "right", "redis_url": ""}, "production needs redis_url"),
        ({"admin_password": "right", "records": True}, "production needs database_url"),
    ],
)
def test_production_that_is_not_configured_is_an_error_at_start(
    redis_url: str, fields: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"redis_url": redis_url, "secret_key": SECRET, "environment": "production", **fields}
    with pytest.raises(ConfigurationError, match=message):
        SaqueductPlugin(SaqueductConfig(**given))


def test_production_with_credentials_or_guards_or_without_admin_routes_starts(redis_url: str) -> None:
    base: dict[str, Any] = {"redis_url": redis_url, "secret_key": SECRET, "environment": "production"}
    SaqueductPlugin(SaqueductConfig(admin_token="token", **base))
    SaqueductPlugin(SaqueductConfig(guards=[lambda *_: None], **base))
    SaqueductPlugin(
        SaqueductConfig(redis_url=redis_url, environment="production", api_path=None, console_path=None, ui_path=None)
    )
