"""/todos over HTTP."""

import datetime as dt
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import Settings
from app.todos.models import Todo
from app.users.sessions import UserSessions
from app.users.tokens import AccessClaims, AccessTokens
from tests.todos.rows import add_user
from tests.users.accounts import bearer

ROUTES = [
    ("GET", "/todos"),
    ("POST", "/todos"),
    ("GET", "/todos/1"),
    ("PATCH", "/todos/1"),
    ("DELETE", "/todos/1"),
    ("POST", "/todos/1/complete"),
]


async def as_user(session: AsyncSession, settings: Settings, email: str) -> dict[str, str]:
    """The header of a new, logged-in user."""
    user_id = await add_user(session, email)
    _, family = await UserSessions(session, dt.timedelta(days=1)).open(user_id)
    await session.commit()
    tokens = AccessTokens(settings.app.secret_key, dt.timedelta(minutes=5))
    return bearer(tokens.issue(AccessClaims(user_id, family)))


@pytest.fixture
async def ada(client: httpx.AsyncClient, session: AsyncSession, settings: Settings) -> httpx.AsyncClient:
    """The client, logged in."""
    client.headers.update(await as_user(session, settings, "ada@example.com"))
    return client


async def create(client: httpx.AsyncClient, title: str) -> int:
    answer = await client.post("/todos", json={"title": title})
    assert answer.status_code == 201, answer.text
    todo_id: int = answer.json()["id"]
    return todo_id


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_todos_need_a_user(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-access-token")


async def test_a_todo_is_made_and_read(ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/todos", json={"title": "  Buy milk \n"})
    assert answer.status_code == 201
    todo = answer.json()
    assert set(todo) == {"id", "title", "completed", "completed_at", "created_at", "updated_at"}
    assert (todo["title"], todo["completed"], todo["completed_at"]) == ("Buy milk", False, None)
    assert answer.headers["location"] == f"/todos/{todo['id']}"
    read = await ada.get(answer.headers["location"])
    assert (read.status_code, read.json()) == (200, todo)


@pytest.mark.parametrize("title", ["", " ", "\t\n", "x" * 201, "a\x00b", "a\nb", None, 1], ids=repr)
async def test_a_bad_title_is_refused(ada: httpx.AsyncClient, session: AsyncSession, title: object) -> None:
    assert (await ada.post("/todos", json={"title": title})).status_code == 400
    todo_id = await create(ada, "Buy milk")
    assert (await ada.patch(f"/todos/{todo_id}", json={"title": title})).status_code == 400
    assert (await session.scalars(select(Todo.title))).all() == ["Buy milk"]


@pytest.mark.parametrize("body", [{}, {"title": "x", "user_id": 2}, {"titel": "x"}, []], ids=str)
async def test_a_body_of_another_shape_is_refused(ada: httpx.AsyncClient, body: object) -> None:
    assert (await ada.post("/todos", json=body)).status_code == 400


@pytest.mark.parametrize("title", ["x", "x" * 200, "Ünïcödé 👩‍👩‍👧 ✓", "'; DROP TABLE todos; --"])
async def test_titles_of_1_to_200_characters_are_kept(ada: httpx.AsyncClient, title: str) -> None:
    todo_id = await create(ada, title)
    assert (await ada.get(f"/todos/{todo_id}")).json()["title"] == title


async def test_todos_of_others_do_not_exist(ada: httpx.AsyncClient, session: AsyncSession, settings: Settings) -> None:
    todo_id = await create(ada, "Mine")
    eve = await as_user(session, settings, "eve@example.com")
    path = f"/todos/{todo_id}"
    for answer in (
        await ada.get(path, headers=eve),
        await ada.patch(path, json={"title": "Eve's"}, headers=eve),
        await ada.post(f"{path}/complete", headers=eve),
        await ada.delete(path, headers=eve),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "todo-not-found")
    assert (await ada.get("/todos", headers=eve)).json() == {"items": [], "next": None}
    mine = (await ada.get(path)).json()
    assert (mine["title"], mine["completed"]) == ("Mine", False)


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/complete")])
@pytest.mark.parametrize(("todo_id", "status"), [("999", 404), ("0", 400), (str(2**31), 400), ("one", 404)])
async def test_an_unknown_todo_is_refused(
    ada: httpx.AsyncClient, method: str, suffix: str, todo_id: str, status: int
) -> None:
    body: dict[str, Any] = {"json": {"title": "x"}} if method == "PATCH" else {}
    assert (await ada.request(method, f"/todos/{todo_id}{suffix}", **body)).status_code == status


async def test_the_title_is_changed_alone(ada: httpx.AsyncClient) -> None:
    todo_id = await create(ada, "Buy milk")
    done = (await ada.post(f"/todos/{todo_id}/complete")).json()
    changed = (await ada.patch(f"/todos/{todo_id}", json={"title": "Buy bread"})).json()
    assert changed == done | {"title": "Buy bread", "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > done["updated_at"]
    assert (await ada.patch(f"/todos/{todo_id}", json={})).json() == changed


async def test_a_todo_is_completed_once_and_can_be_taken_up_again(ada: httpx.AsyncClient) -> None:
    path = f"/todos/{await create(ada, 'Buy milk')}"
    done = await ada.post(f"{path}/complete")
    assert (done.status_code, done.json()["completed"]) == (200, True)
    assert done.json()["completed_at"] >= done.json()["created_at"]
    again = await ada.post(f"{path}/complete")
    assert (again.status_code, again.json()) == (200, done.json())
    reopened = (await ada.patch(path, json={"completed": False})).json()
    assert (reopened["completed"], reopened["completed_at"]) == (False, None)
    assert (await ada.patch(path, json={"completed": True})).json()["completed"] is True


@pytest.mark.parametrize("body", [{"completed": None}, {"completed": "yes"}, {"done": True}], ids=str)
async def test_a_bad_change_is_refused(ada: httpx.AsyncClient, body: dict[str, Any]) -> None:
    todo_id = await create(ada, "Buy milk")
    assert (await ada.patch(f"/todos/{todo_id}", json=body)).status_code == 400


async def test_a_deleted_todo_is_gone(ada: httpx.AsyncClient) -> None:
    path = f"/todos/{await create(ada, 'Buy milk')}"
    answer = await ada.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await ada.get(path)).status_code == 404
    assert (await ada.delete(path)).status_code == 404


async def test_pages_follow_one_another_newest_first(ada: httpx.AsyncClient) -> None:
    ids = [await create(ada, f"Todo {number}") for number in range(5)]
    seen: list[int] = []
    query: dict[str, int] = {"limit": 2}
    sizes = []
    while True:
        page = (await ada.get("/todos", params=query)).json()
        seen += [todo["id"] for todo in page["items"]]
        sizes.append(len(page["items"]))
        if page["next"] is None:
            break
        query["before"] = page["next"]
        await create(ada, "Made meanwhile, on no further page")
    assert seen == ids[::-1]
    assert sizes == [2, 2, 1]


async def test_a_full_last_page_has_no_next(ada: httpx.AsyncClient) -> None:
    for number in range(2):
        await create(ada, f"Todo {number}")
    page = (await ada.get("/todos", params={"limit": 2})).json()
    assert (len(page["items"]), page["next"]) == (2, None)


async def test_pages_can_hold_only_what_is_done_or_not(ada: httpx.AsyncClient) -> None:
    done, waiting = await create(ada, "Done"), await create(ada, "Not done")
    await ada.post(f"/todos/{done}/complete")
    for completed, expected in (("true", [done]), ("false", [waiting])):
        page = (await ada.get("/todos", params={"completed": completed})).json()
        assert [todo["id"] for todo in page["items"]] == expected


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"before": 0}, {"before": 2**31}, {"completed": "maybe"}]
)
async def test_a_bad_query_is_refused(ada: httpx.AsyncClient, query: dict[str, Any]) -> None:
    assert (await ada.get("/todos", params=query)).status_code == 400
