"""The queue's HTTP API in an application that knows nothing of it."""

import datetime as dt
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from litestar import Litestar, Request, Router, get
from litestar.config.csrf import CSRFConfig
from litestar.middleware.authentication import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.middleware.base import DefineMiddleware
from litestar.routes import HTTPRoute
from litestar.types import Guard
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import ConfigurationError, JobNotFound, SaqueductConfig
from saqueduct.common.secret import Secret
from saqueduct.litestar import SaqueductPlugin
from saqueduct.litestar.access import Access
from saqueduct.litestar.browser_sessions import BrowserSessions
from saqueduct.litestar.credentials import AdminCredentials, CredentialCheck
from saqueduct.litestar.router import install, queue_router
from saqueduct.postgres.models import JobRecord
from tests.fixtures.poll import eventually
from tests.litestar.conftest import ADMIN, Build, Parts, Plain, members_only

KEY = "tenant/42 %"


async def dead_letter(session: AsyncSession, key: str) -> None:
    """Write the record of a job that has failed."""
    queued = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    fields: Any = {"status": "failed", "attempts": 1, "error": "ValueError: no", "queued_at": queued}
    session.add(JobRecord(key=key, task="add", queue="default", arguments={"a": 1, "b": 2}, **fields))
    await session.commit()


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that must be problem details."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, str(answer.json()["code"])


async def test_every_route_of_a_job_answers(plain: Plain) -> None:
    path = f"/queue/jobs/{quote(KEY, safe='')}"
    made = await plain.client.post("/queue/tasks/add", params={"key": KEY}, json={"a": 1, "b": 2}, auth=ADMIN)
    assert (made.status_code, made.json()["job_id"]) == (201, KEY)
    assert made.headers["location"].startswith("/queue/jobs/tenant%2F42%20%25?token=")
    assert (await plain.client.get(made.headers["location"])).json()["status"] == "queued"
    assert (await plain.client.get(path, auth=ADMIN)).json()["arguments"] == {"a": 1, "b": 2}
    assert (await plain.client.delete(path, auth=ADMIN)).json()["status"] == "aborted"
    assert "event: end" in (await plain.client.get(f"{path}/events", auth=ADMIN)).text
    assert (await plain.client.post(f"{path}/retry", auth=ADMIN)).json()["job_id"] == KEY
    listed = await plain.client.get("/queue/jobs?status=queued", auth=ADMIN)
    assert [job["key"] for job in listed.json()["jobs"]] == [KEY]


async def test_every_route_of_a_dead_letter_answers(plain: Plain, session: AsyncSession) -> None:
    for key in (KEY, "other"):
        await dead_letter(session, key)
    path = f"/queue/dead-letters/{quote(KEY, safe='')}"
    [reported] = (await plain.client.get(f"/queue/jobs/{quote(KEY, safe='')}/history", auth=ADMIN)).json()
    assert reported["error"] == "ValueError: no"
    assert (await plain.client.get(f"/queue/jobs/{quote(KEY, safe='')}", auth=ADMIN)).json()["status"] == "failed"
    assert len((await plain.client.get("/queue/dead-letters", auth=ADMIN)).json()["jobs"]) == 2
    again = await plain.client.post(f"{path}/replay", auth=ADMIN)
    assert again.status_code == 201
    assert (await plain.client.get(again.headers["location"], auth=ADMIN)).json()["status"] in ("new", "queued")
    assert problem(await plain.client.delete(path, auth=ADMIN)) == (409, "job-conflict")
    assert (await plain.client.delete("/queue/dead-letters/other", auth=ADMIN)).status_code == 204
    assert (await plain.client.get("/queue/dead-letters", auth=ADMIN)).json()["jobs"] == []


async def test_all_dead_letters_are_replayed_by_a_job(plain: Plain, session: AsyncSession) -> None:
    for key in ("one", "two"):
        await dead_letter(session, key)
    asked = await plain.client.post("/queue/dead-letters/replay", json={"which": {"task": "add"}}, auth=ADMIN)
    assert asked.status_code == 202
    async with plain.saqueduct.working():
        await eventually(lambda: ended(plain, asked.headers["location"]))
    job = await plain.client.get(asked.headers["location"], auth=ADMIN)
    assert job.json()["result"] == {"replayed": 2, "refused": {}}
    assert (await plain.client.get("/queue/dead-letters", auth=ADMIN)).json()["jobs"] == []


async def ended(plain: Plain, path: str) -> bool:
    return (await plain.client.get(path, auth=ADMIN)).json()["ended_at"] is not None


async def test_a_job_on_its_way_from_the_outbox_is_found(plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    queues, looks = plain.saqueduct.queues, 0
    job = await queues.enqueue("add", {"a": 1, "b": 2}, key="moving")
    find = queues.find

    async def find_later(key: str, queue: str | None = None) -> Any:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise JobNotFound(key)
        return await find(key, queue)

    monkeypatch.setattr(queues, "find", find_later)
    assert (await plain.client.get(f"/queue/jobs/{job.key}", auth=ADMIN)).json()["status"] == "queued"
    assert looks == 2


async def test_every_other_route_answers(plain: Plain) -> None:
    client = plain.client
    names = [each["name"] for each in (await client.get("/queue/tasks", auth=ADMIN)).json()]
    assert names == ["add", "tidy", "replay_dead_letters", "change_jobs"]
    many = await client.post("/queue/tasks/add/batch", json=[{"a": 1, "b": 2}, {"a": 3, "b": 4}], auth=ADMIN)
    assert many.json()["jobs"][0]["location"].startswith("/queue/jobs/")
    [queue] = (await client.get("/queue/queues", auth=ADMIN)).json()
    assert (queue["name"], queue["queued"]) == ("default", 2)
    for action, paused in (("pause", True), ("resume", False)):
        for noun in ("queues/default", "schedules/tidy"):
            answer = await client.post(f"/queue/{noun}/{action}", auth=ADMIN)
            assert (answer.status_code, bool(answer.json()["paused"])) == (200, paused), noun
    assert (await client.get("/queue/queues/default", auth=ADMIN)).json()["name"] == "default"
    assert [each["key"] for each in (await client.get("/queue/schedules", auth=ADMIN)).json()] == ["tidy"]
    assert (await client.post("/queue/schedules/tidy/trigger", auth=ADMIN)).headers["location"][:12] == "/queue/jobs/"
    assert (await client.get("/queue/health/live")).json() == {"status": "alive"}
    ready = (await client.get("/queue/health/ready")).json()
    assert (ready["status"], ready["checks"]) == ("ready", {"redis": "ok", "postgresql": "ok"})


def guarded(app: Litestar) -> list[tuple[str, str]]:
    """Method and path of every route of the queue that is not open to all."""
    routes = [each for each in app.routes if isinstance(each, HTTPRoute) and each.path.startswith("/queue/")]
    found = [
        (method, route.path.replace("{key:str}", "one").replace("{name:str}", "one"))
        for route in routes
        for method in route.methods - {"OPTIONS"}
    ]
    return [(method, path) for method, path in found if "health" not in path]


async def test_only_the_admin_may_call(plain: Plain) -> None:
    found = guarded(plain.app)
    assert len(found) > 15
    for method, path in found:
        answer = await plain.client.request(method, path)
        assert problem(answer) == (401, "unauthorized"), (method, path)
        assert "Basic" in answer.headers["www-authenticate"]
    assert problem(await plain.client.get("/queue/jobs", auth=("admin", "wrong"))) == (401, "unauthorized")


async def test_guesses_are_limited(plain: Plain) -> None:
    for _ in range(10):
        await plain.client.get("/queue/jobs", auth=("admin", "wrong"))
    assert problem(await plain.client.get("/queue/jobs", auth=ADMIN)) == (429, "too-many-requests")


@pytest.mark.parametrize(("peer", "host", "status"), [("127.0.0.1", "localhost", 200), ("127.0.0.1", "e.example", 401)])
async def test_without_credentials_only_this_machine_may_call_in_development(
    serve: Build, peer: str, host: str, status: int
) -> None:
    async with serve(peer=peer, credentials=AdminCredentials()) as plain:
        assert (await plain.client.get("/queue/jobs", headers={"host": host})).status_code == status
    async with serve(peer=peer, credentials=AdminCredentials(), production=True) as plain:
        assert (await plain.client.get("/queue/jobs", headers={"host": host})).status_code == 401


async def test_guards_of_the_application_may_protect_the_routes_instead(serve: Build) -> None:
    async with serve(guards=[members_only]) as plain:
        assert problem(await plain.client.get("/queue/jobs")) == (401, "unauthorized")
        member = {"x-member": "yes"}
        assert (await plain.client.get("/queue/jobs", headers=member)).status_code == 200
        made = await plain.client.post("/queue/tasks/add", json={"a": 1, "b": 2}, headers=member)
        path = f"/queue/jobs/{made.json()['job_id']}"
        assert "arguments" in (await plain.client.get(path, headers=member)).json()
        assert "arguments" not in (await plain.client.get(path)).json()


@pytest.mark.parametrize(
    ("method", "path", "content", "expected"),
    [
        ("GET", "/queue/jobs/nope", None, (404, "job-not-found")),
        ("POST", "/queue/tasks/ad", {}, (404, "unknown-task")),
        ("POST", "/queue/tasks/add", {"a": "x"}, (400, "invalid-arguments")),
        ("POST", "/queue/tasks/add?delai=1", {"a": 1, "b": 2}, (400, "invalid")),
        ("POST", "/queue/tasks/add", {"a": 1, "b": "x" * 300_000}, (413, "content-too-large")),
        ("GET", "/queue/queues/nope", None, (404, "unknown-queue")),
        ("GET", "/queue/jobs?limit=x", None, (400, "invalid")),
        ("GET", "/queue/jobs?tasks=add", None, (400, "invalid")),
        ("POST", "/queue/queues/default/pause", {"zzz": 1}, (400, "invalid")),
        ("POST", "/queue/queues/default/resume", {"zzz": 1}, (400, "invalid")),
        ("GET", "/queue/jobs?cursor=x", None, (400, "invalid-cursor")),
    ],
)
async def test_errors_are_problem_details(
    plain: Plain, method: str, path: str, content: Any, expected: tuple[int, str]
) -> None:
    assert problem(await plain.client.request(method, path, json=content, auth=ADMIN)) == expected


async def test_the_applications_own_routes_and_handlers_are_untouched(plain: Plain) -> None:
    client = plain.client
    assert (await client.get("/jobs")).json() == ["baker"]
    unknown = await client.get("/things/a", params={"colour": "blue", "zzz": "1"})
    assert unknown.json() == {"name": "a", "colour": "blue"}
    assert "referrer-policy" not in unknown.headers
    assert (await client.get("/things/a%2Fb")).json() == {"oops": "404: Not Found"}
    failed = await client.post("/things", headers={"origin": "https://elsewhere.example"})
    assert (failed.status_code, failed.json()) == (500, {"oops": "no more things"})
    assert (await client.get("/queue/nowhere", auth=ADMIN)).json() == {"oops": "404: Not Found"}


async def test_a_page_of_another_site_changes_nothing(plain: Plain) -> None:
    for headers in ({"origin": "https://attacker.example"}, {"sec-fetch-site": "cross-site"}):
        answer = await plain.client.post("/queue/queues/default/pause", headers=headers, auth=ADMIN)
        assert problem(answer) == (403, "forbidden")
    assert await plain.saqueduct.queues.get("default").paused() is None


async def test_a_page_of_another_site_cannot_use_saqs_page(plain: Plain) -> None:
    job = await plain.saqueduct.queues.enqueue("add", {"a": 1, "b": 2})
    path, foreign = f"/saq/api/queues/default/jobs/{job.key}/abort", {"origin": "https://attacker.example"}
    assert problem(await plain.client.post(path, headers=foreign, auth=ADMIN)) == (403, "forbidden")
    assert (await plain.saqueduct.queues.find(job.key)).status.value == "queued"


@pytest.mark.parametrize("path", ["/saq", "/saq/", "/saq/static/app.js", "/saq/api/queues"])
async def test_saqs_page_is_the_admins(plain: Plain, path: str) -> None:
    assert problem(await plain.client.get(path)) == (401, "unauthorized")
    answer = await plain.client.get(path, auth=ADMIN)
    assert (answer.status_code, answer.headers["cache-control"]) == (307 if path == "/saq" else 200, "no-store")


class Tokens(AbstractAuthenticationMiddleware):
    """Authentication of the application, which reads the same header."""

    async def authenticate_request(self, connection: Any) -> AuthenticationResult:
        raise AssertionError("asked for the credentials of the admin")


async def test_csrf_and_authentication_of_the_application_leave_the_admin_alone(serve: Build) -> None:
    csrf = CSRFConfig(secret="only for this test")
    async with serve(csrf_config=csrf, middleware=[DefineMiddleware(Tokens)]) as plain:
        assert (await plain.client.post("/queue/queues/default/pause", auth=ADMIN)).status_code == 200
        job = await plain.saqueduct.queues.enqueue("add", {"a": 1, "b": 2})
        answer = await plain.client.post(f"/saq/api/queues/default/jobs/{job.key}/abort", auth=ADMIN)
        assert answer.status_code < 300
        assert (await plain.client.get("/saq/static/app.js", auth=ADMIN)).status_code == 200


async def test_hooks_of_the_application_are_called_for_the_queues_routes_too(serve: Build) -> None:
    seen: list[str] = []

    async def note(request: Request[Any, Any, Any]) -> None:
        seen.append(request.url.path)

    async with serve(before_request=note) as plain:
        await plain.client.get("/queue/health/live")
    assert seen == ["/queue/health/live"]


@pytest.mark.parametrize("path", ["/queue", "/internal/queue/"])
async def test_keys_have_any_characters_wherever_the_router_is(serve: Build, path: str) -> None:
    async with serve(path=path) as plain:
        prefix = path.rstrip("/")
        for key in ("tenant/42", "a//b", "100%25", "history", "a/history", ".."):
            made = await plain.client.post(
                f"{prefix}/tasks/add", params={"key": key}, json={"a": 1, "b": 2}, auth=ADMIN
            )
            assert made.headers["location"].startswith(f"{prefix}/jobs/")
            escaped = quote(key, safe="").replace(".", "%2E")
            found = await plain.client.get(f"{prefix}/jobs/{escaped}", auth=ADMIN)
            assert found.json()["job_id"] == key


async def test_under_a_root_path_keys_and_addresses_still_fit(serve: Build) -> None:
    async with serve() as plain:
        transport: Any = httpx.ASGITransport(plain.app, root_path="/shop")  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="https://shop.example.com") as client:
            made = await client.post("/shop/queue/tasks/add?key=a%2Fb", json={"a": 1, "b": 2}, auth=ADMIN)
            assert made.headers["location"].startswith("/shop/queue/jobs/a%2Fb?token=")
            assert (await client.get(made.headers["location"])).json()["job_id"] == "a/b"


async def test_without_postgresql_jobs_are_found_and_records_are_not(serve: Build) -> None:
    async with serve(store=False) as plain:
        made = await plain.client.post("/queue/tasks/add", json={"a": 1, "b": 2}, auth=ADMIN)
        assert (await plain.client.get(made.headers["location"])).json()["status"] == "queued"
        assert problem(await plain.client.get("/queue/jobs/nope", auth=ADMIN)) == (404, "job-not-found")
        assert len((await plain.client.get("/queue/jobs?status=queued", auth=ADMIN)).json()["jobs"]) == 1
        for path in ("/queue/jobs", "/queue/dead-letters", "/queue/jobs/a/history"):
            answer = await plain.client.get(path, auth=ADMIN)
            assert problem(answer) == (404, "no-job-records"), path
            assert "database_url" in answer.json()["detail"]
        assert (await plain.client.get("/queue/health/ready")).json()["checks"] == {"redis": "ok"}


async def test_a_transaction_that_cannot_commit_is_the_answer(
    plain: Plain, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dead_letter(session, KEY)

    async def fail(_: AsyncSession) -> None:
        raise RuntimeError("no commit")

    with monkeypatch.context() as patch:
        patch.setattr(AsyncSession, "commit", fail)
        answer = await plain.client.delete(f"/queue/dead-letters/{quote(KEY, safe='')}", auth=ADMIN)
        assert problem(answer) == (500, "internal")
    assert len((await plain.client.get("/queue/dead-letters", auth=ADMIN)).json()["jobs"]) == 1


async def test_the_openapi_document_is_complete(plain: Plain) -> None:
    document = await document_of(plain)
    paths, schemas = document["paths"], document["components"]["schemas"]
    assert "/things/{name}" in paths
    assert "problem" not in json.dumps(paths["/things/{name}"])
    add = paths["/queue/tasks/add"]["post"]
    assert (add["operationId"], add["summary"]) == ("enqueue_add", "Add two numbers")
    [body] = add["requestBody"]["content"].values()
    assert schemas[body["schema"]["$ref"].rpartition("/")[2]]["required"] == ["a", "b"]
    assert add["security"] == [{"AdminBasic": ["operator"]}, {"AdminToken": ["operator"]}]
    assert document["components"]["securitySchemes"].keys() == {"AdminBasic", "AdminToken"}
    names = [operation["operationId"] for item in paths.values() for operation in item.values()]
    assert len(names) == len(set(names))
    assert {"show_job", "list_jobs", "retry_job", "enqueue_task", "enqueue_batch_of_add", "is_ready"} <= set(names)
    for reference in references(document):
        found: Any = document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]


async def test_the_document_does_not_claim_credentials_that_are_not_asked_for(serve: Build) -> None:
    async with serve(guards=[members_only]) as plain:
        document = await document_of(plain)
    assert "security" not in document["paths"]["/queue/jobs"]["get"]
    assert "securitySchemes" not in document["components"]


async def document_of(plain: Plain) -> dict[str, Any]:
    answer = await plain.client.get("/schema/openapi.json")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def references(part: Any) -> list[str]:
    """Every `$ref` in a document."""
    if isinstance(part, list):
        return [found for each in part for found in references(each)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [found for each in part.values() for found in references(each)]


def access_by(guards: list[Guard]) -> Access:
    """Who may call, by guards of the application."""
    attempts: Any = None
    check = CredentialCheck(AdminCredentials(), (), attempts)
    return Access(check, BrowserSessions(Secret("key"), 60.0, check.proof), guards=guards, production=False)


async def test_no_guards_and_a_path_with_parameters_are_refused(plain: Plain) -> None:
    parts: Any = plain.saqueduct
    with pytest.raises(ConfigurationError, match="no guards"):
        access_by([])
    with pytest.raises(ConfigurationError, match="has a parameter"):
        queue_router(parts, path="/{tenant:str}/queue", access=access_by([members_only]), max_payload_bytes=1)


async def test_a_router_inside_of_another_is_refused(plain: Plain) -> None:
    registry, queues, key = plain.saqueduct.registry, plain.saqueduct.queues, Secret("key")
    inner = queue_router(
        Parts(queues, registry, None, key), path="/queue", access=access_by([members_only]), max_payload_bytes=1
    )
    app = Litestar([Router("/api", route_handlers=[inner])], logging_config=None)
    with pytest.raises(ConfigurationError, match="give queue_router the whole path"):
        install(app)


async def test_a_second_installation_does_nothing(plain: Plain) -> None:
    before = plain.app.asgi_handler
    install(plain.app)
    assert plain.app.asgi_handler is before


def test_an_application_without_the_router_stays_as_it_is() -> None:
    @get("/")
    async def index() -> str:
        return "hello"

    app = Litestar([index], logging_config=None)
    before = app.asgi_handler
    install(app)
    assert app.asgi_handler is before


@pytest.mark.usefixtures("shop_tasks")
def test_the_plugin_describes_the_routes_in_the_applications_document() -> None:
    config = SaqueductConfig(redis_url="redis://127.0.0.1:1", environment="development")
    document = Litestar(plugins=[SaqueductPlugin(config)], logging_config=None).openapi_schema.to_schema()
    assert "requestBody" in document["paths"]["/queue/tasks/add"]["post"]
