"""Names that no route knows: in queries, in bodies, and bodies of routes that take none."""

from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute

from app.settings import Settings
from saqueduct import Queues
from tests.fixtures.application import application
from tests.fixtures.poll import eventually

OF_USERS = ("/todos", "/users/me")
"""Routes that answer 401 without a user's access token, before anything else is looked at."""


def routes(settings: Settings) -> list[tuple[str, str, bool]]:
    """Method and path of every route of the API, and whether its body is declared; pages have tests of their own."""
    found: list[tuple[str, str, bool]] = []
    for route in application(settings).routes:
        if isinstance(route, HTTPRoute) and not route.path.startswith(("/schema", "/saq", "/console", *OF_USERS)):
            path = route.path
            for each in route.path_components:
                if not isinstance(each, str):
                    path = path.replace(f"{{{each.full}}}", "1")
            for method, (_, model) in route.route_handler_map.items():
                if method != "OPTIONS":
                    found.append((method, path, "data" in model.expected_reserved_kwargs))
    return found


def message(answer: httpx.Response) -> str:
    assert answer.headers["content-type"].startswith("application/problem+json")
    [error] = answer.json()["errors"]
    return str(error["message"])


async def test_no_route_ignores_a_query_parameter(client: httpx.AsyncClient, settings: Settings) -> None:
    for method, path, _ in routes(settings):
        answer = await client.request(method, path, params={"zzz": "1"})
        assert answer.status_code == 400, (method, path)
        assert "'zzz'" in message(answer), (method, path)


async def test_no_route_ignores_a_field_of_its_body(client: httpx.AsyncClient, settings: Settings) -> None:
    found = [(method, path) for method, path, body in routes(settings) if body]
    assert len(found) > 10
    for method, path in found:
        headers = {"Idempotency-Key": "k"} if (method, path) in TAKE_KEYS else {}
        answer = await client.request(method, path, json={"zzz": 1}, headers=headers)
        assert answer.status_code == 400, (method, path)
        assert "'zzz'" in str(answer.json()["errors"]), (method, path)


async def test_no_route_without_a_body_ignores_one(client: httpx.AsyncClient, settings: Settings) -> None:
    found = [(method, path) for method, path, body in routes(settings) if not body and method != "GET"]
    assert ("POST", "/queues/1/resume") in found
    for method, path in found:
        answer = await client.request(method, path, json={"zzz": 1})
        assert (answer.status_code, "zzz" in answer.text) == (400 if "tasks" not in path else 404, "tasks" not in path)


TAKE_KEYS = {("POST", path) for path in ("/process", "/tasks/1", "/tasks/1/batch", "/payments")}


async def test_no_route_ignores_an_idempotency_key(client: httpx.AsyncClient, settings: Settings) -> None:
    for method, path, _ in routes(settings):
        answer = await client.request(method, path, headers={"Idempotency-Key": "k"})
        refused = "takes no header Idempotency-Key" in answer.text
        assert refused is ((method, path) not in TAKE_KEYS), (method, path)
        assert not refused or answer.status_code == 400


async def test_an_empty_object_is_no_body(client: httpx.AsyncClient) -> None:
    assert (await client.post("/queues/default/resume", json={})).status_code == 200


@pytest.mark.parametrize(
    ("path", "near"),
    [("/jobs?tasks=my_task", "task"), ("/dead-letters?ques=a", "queue"), ("/emails?limits=3", "limit")],
)
async def test_a_misspelt_parameter_is_reported_with_the_one_meant(
    client: httpx.AsyncClient, path: str, near: str
) -> None:
    assert f"did you mean {near!r}?" in message(await client.get(path))


async def test_a_parameter_given_twice_is_refused(client: httpx.AsyncClient) -> None:
    assert "given twice" in message(await client.get("/jobs?limit=5&limit=7"))


async def test_dead_letters_have_no_status_to_filter_by(client: httpx.AsyncClient) -> None:
    assert "'status'" in message(await client.get("/dead-letters?status=failed"))


@pytest.mark.parametrize(
    ("body", "name", "near"),
    [
        ({"which": {"tasks": "invoices"}}, "tasks", "task"),
        ({"which": {"task": "invoices"}, "rates": 5}, "rates", "rate"),
        ({"which": {"since": "2026-01-01T00:00:00Z", "arg": {}}}, "arg", "tag"),
    ],
)
async def test_a_misspelt_filter_replays_nothing(
    client: httpx.AsyncClient, queues: Queues, body: dict[str, Any], name: str, near: str
) -> None:
    answer = await client.post("/dead-letters/replay", json=body)
    assert answer.status_code == 400
    assert message(answer).startswith(f"there is no field {name!r}: did you mean {near!r}? (there are ")
    assert await queues.get("default").count("queued") == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"which": {}},
        {"which": {"task": None}},
        {"which": {"arguments": {}}},
        {"which": {"error": ""}},
        {"all": False},
        {"all": True, "which": {"task": "my_task"}},
    ],
)
async def test_a_replay_of_everything_is_asked_for_in_words(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await client.post("/dead-letters/replay", json=body)
    assert answer.status_code == 400
    assert '{"all": true}' in answer.text.replace("\\", "")


async def test_a_replay_of_everything_in_words(client: httpx.AsyncClient, queues: Queues) -> None:
    answer = await client.post("/dead-letters/replay", json={"all": True})
    assert answer.status_code == 202
    key = answer.json()["job_id"]
    # It commits with its entry in the audit, and is enqueued after that.
    await eventually(lambda: queues.get("default").job(key))
    job = await queues.find(key)
    assert set(job.kwargs or {}) == {"which", "why", "by", "rate"}


async def test_a_misspelt_filter_of_the_task_itself_is_refused(client: httpx.AsyncClient) -> None:
    arguments = {"which": {"tasks": "invoices"}, "by": "ada"}
    assert (await client.post("/tasks/replay_dead_letters", json=arguments)).status_code == 400


@pytest.mark.parametrize("which", [{}, {"arguments": {}}, {"error": ""}, {"all": False}])
async def test_the_task_itself_replays_everything_only_in_words(client: httpx.AsyncClient, which: object) -> None:
    answer = await client.post("/tasks/replay_dead_letters", json={"which": which, "by": "ada"})
    assert answer.status_code == 400
    assert '{"all": true}' in answer.text.replace("\\", "")


async def test_an_argument_is_searched_for_by_one_value(client: httpx.AsyncClient) -> None:
    answer = await client.get("/jobs", params={"q": "user_id=1,user_id=2"})
    assert answer.status_code == 400
    assert "user_id" in answer.json()["detail"]
