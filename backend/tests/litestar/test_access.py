"""Who may do what: roles on every route, named credentials, proxies, the application's own login, and sessions."""

import logging
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any

import pytest
import pytest_asyncio
from litestar import Litestar
from litestar.routes import HTTPRoute

from saqueduct import Context, Credential, Person, Role, TaskRegistry
from saqueduct.common.password_hash import hash_password, hash_token
from saqueduct.litestar.browser_sessions import NAME, BrowserSessions
from saqueduct.litestar.guards import ROLE, WHEN
from saqueduct.postgres.asked_by import asked_by
from saqueduct.postgres.built_in_tasks import WithBuiltIn
from tests.litestar.access_kit import PASSWORD, PEOPLE, PROXY, Served, basic, identify, people, served

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(redis_url: str) -> AsyncIterator[Served]:
    """An application with named people, an admin's password, a login of its own, and a proxy."""
    robot = Credential(name="robot", role=Role.OPERATOR, hash=hash_token("a random token"))
    async with served(
        redis_url,
        "access",
        credentials=[*people(), robot],
        admin_username="root",
        admin_password=PASSWORD,
        identify=identify,
        proxy_user_header="X-Remote-User",
        proxy_role_header="X-Remote-Groups",
        trusted_proxies=[PROXY],
    ) as shop:
        yield shop


def routes(app: Litestar) -> list[tuple[str, str, Role]]:
    """Method, path and role of every route of the queue that always needs one, and of SAQ's UI."""
    handlers = [
        (route.path, each) for route in app.routes if isinstance(route, HTTPRoute) for each in route.route_handlers
    ]
    found = [
        (str(method), path.replace("{key:str}", "one").replace("{name:str}", "one"), Role(handler.opt[ROLE]))
        for path, handler in handlers
        if path.startswith("/queue") and handler.opt.get(WHEN) != "optional" and "/live" not in path
        for method in handler.http_methods - {"OPTIONS"}
    ]
    saq = [("GET", "/saq/api/queues", Role.VIEWER), ("POST", "/saq/api/queues/access/jobs/x/retry", Role.OPERATOR)]
    return found + saq + [("POST", "/saq/api/queues/access/jobs/x/abort", Role.OPERATOR)]


async def test_every_route_needs_a_role_and_changes_need_an_operator(shop: Served) -> None:
    found = routes(shop.app)
    assert len(found) > 20
    for method, path, role in found:
        assert role.includes(Role.VIEWER if method == "GET" else Role.OPERATOR), (method, path)


async def test_every_route_is_refused_to_lower_roles_and_says_which_it_needs(shop: Served) -> None:
    for method, path, role in routes(shop.app):
        answer = await shop.call(method, path)
        assert (answer.status_code, answer.json()["role"]) == (401, role), (method, path)
        assert f"the role {role} is needed" in answer.json()["detail"]
        for name, own in PEOPLE.items():
            answer = await shop.call(method, path, basic(name))
            if own.includes(role):
                assert answer.status_code not in (401, 403), (method, path, name)
                continue
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path, name)
            assert answer.json()["role"] == role
            assert answer.json()["detail"] == f"the role {role} is needed: {name} has the role {own}"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (basic("vera"), "vera viewer"),
        (basic("omar"), "omar operator"),
        (basic("root"), "root admin"),
        ({"authorization": "Bearer a random token"}, "robot operator"),
        ({"x-staff": "sam"}, "sam operator"),
        ({}, "nobody"),
        ({"authorization": "Bearer a.jwt.ofsomebody"}, "nobody"),
        ({"authorization": "Bearer a.jwt.ofsomebody", "x-staff": "sam"}, "sam operator"),
    ],
    ids=str,
)
async def test_people_are_recognized(shop: Served, headers: dict[str, str], expected: str) -> None:
    assert (await shop.call("GET", "/whoami", headers)).text == expected


@pytest.mark.parametrize(
    "headers",
    [
        basic("vera", "wrong"),
        basic("nobody"),
        basic("robot", "a random token"),
        basic("vera", hash_password(PASSWORD, log_n=4)),
        {"authorization": f"Bearer {PASSWORD}"},
        {"authorization": f"Bearer {hash_token('a random token')}"},
        basic("", ""),
        {"authorization": b"Basic \xff"},
    ],
    ids=range(8),
)
async def test_wrong_credentials_are_401_and_counted_together(
    shop: Served, headers: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    peer = f"198.51.100.{request.node.callspec.indices['headers']}"
    for _ in range(9):
        assert (await shop.call("GET", "/whoami", basic("x", "y"), peer)).status_code == 401
    assert (await shop.call("GET", "/whoami", headers, peer)).status_code == 401
    for right in (basic("vera"), {"authorization": "Bearer a random token"}):
        assert (await shop.call("GET", "/queue/queues", right, peer)).status_code == 429
    login = await shop.call("POST", "/login", peer=peer, json={"name": "vera", "password": PASSWORD})
    assert login.status_code == 429


@pytest.mark.parametrize(
    ("headers", "peer", "expected"),
    [
        ({"x-remote-user": "pia"}, PROXY, "pia viewer"),
        ({"x-remote-user": "pia", "x-remote-groups": "staff, operator"}, PROXY, "pia operator"),
        ({"x-remote-user": "pia", "x-remote-groups": "admin,viewer"}, PROXY, "pia admin"),
        ({"x-remote-user": "pia", "x-forwarded-for": "192.0.2.1"}, PROXY, "pia viewer"),
        ({"x-remote-user": "pia", "x-remote-groups": "admin"}, "203.0.113.9", "nobody"),
        ({"x-remote-user": "pia", "x-forwarded-for": PROXY}, "203.0.113.9", "nobody"),
        ({"x-remote-user": ""}, PROXY, "nobody"),
        ({"x-remote-user": "p\tia"}, PROXY, "nobody"),
    ],
    ids=str,
)
async def test_a_proxy_names_people_only_from_its_own_address(
    shop: Served, headers: dict[str, str], peer: str, expected: str
) -> None:
    assert (await shop.call("GET", "/whoami", headers, peer)).text == expected


async def test_a_header_that_is_sent_twice_names_nobody(shop: Served) -> None:
    twice: Any = [("x-remote-user", "pia"), ("x-remote-user", "root")]
    assert (await shop.call("GET", "/whoami", twice, PROXY)).text == "nobody"


async def test_by_is_the_person_and_never_the_body(shop: Served) -> None:
    body = {"by": "mallory", "why": "deploy"}
    answer = await shop.call("POST", "/queue/queues/access/pause", basic("omar"), json=body)
    assert (answer.json()["paused"]["by"], answer.json()["paused"]["why"]) == ("omar", "deploy")
    await shop.call("POST", "/queue/queues/access/resume", basic("omar"))
    answer = await shop.call("POST", "/queue/schedules/tidy/pause", {"x-staff": "sam"}, json=body)
    assert answer.json()["paused"]["by"] == "sam"
    await shop.call("POST", "/queue/schedules/tidy/resume", basic("omar"))


async def test_the_librarys_own_task_notes_the_person_too(shop: Served) -> None:
    own = TaskRegistry()

    @own.task
    async def replay(ctx: Context, *, by: str) -> None: ...

    tasks = WithBuiltIn(own, "access")
    assert asked_by(tasks.get("replay_dead_letters"), {"by": "mallory"}, "omar") == {"by": "omar"}
    assert asked_by(tasks.get("replay"), {"by": "mallory"}, "omar") == {"by": "mallory"}


async def sign_in(shop: Served, name: str, base: str = "https://jobs.example.com") -> tuple[str, Any]:
    """Sign in as a browser; the cookie as it is sent back, and as it was set."""
    answer = await shop.call("POST", "/login", json={"name": name, "password": PASSWORD}, base=base)
    assert answer.status_code == 201, answer.text
    [(key, cookie)] = SimpleCookie(answer.headers["set-cookie"]).items()
    return f"{key}={cookie.value}", cookie


async def test_a_session_is_a_signed_cookie_that_scripts_and_other_sites_do_not_get(shop: Served) -> None:
    sent, cookie = await sign_in(shop, "omar")
    assert cookie.key == f"__Host-{NAME}"
    assert (cookie["httponly"], cookie["samesite"].lower(), cookie["secure"], cookie["path"]) == (
        True,
        "lax",
        True,
        "/",
    )
    assert int(cookie["max-age"]) == 12 * 3600
    assert not cookie["domain"]
    assert (await shop.call("GET", "/whoami", {"cookie": sent})).text == "omar operator"
    assert (await shop.call("POST", "/queue/queues/access/resume", {"cookie": sent})).status_code == 200
    foreign = {"cookie": sent, "origin": "https://evil.example"}
    assert (await shop.call("POST", "/queue/queues/access/resume", foreign)).status_code == 403
    _, plain = await sign_in(shop, "omar", "http://jobs.example.com")
    assert (plain.key, bool(plain["secure"])) == (NAME, False)


async def test_a_session_changes_nothing_from_pages_of_other_sites_on_routes_of_the_application(shop: Served) -> None:
    sent, _ = await sign_in(shop, "omar")
    same, other = (
        {"cookie": sent, "origin": "https://jobs.example.com"},
        {"cookie": sent, "origin": "https://e.example"},
    )
    assert (await shop.call("POST", "/whoami", same)).text == "omar"
    assert (await shop.call("POST", "/whoami", other)).status_code == 403


async def test_what_a_browser_sends_by_itself_changes_nothing_from_pages_of_other_sites(shop: Served) -> None:
    for sent, peer in ((basic("omar"), "203.0.113.9"), ({"x-remote-user": "omar"}, PROXY)):
        same, other = {**sent, "origin": "https://jobs.example.com"}, {**sent, "origin": "https://e.example"}
        assert (await shop.call("POST", "/whoami", same, peer)).text == "omar"
        assert (await shop.call("POST", "/whoami", other, peer)).status_code == 403
    token = {"authorization": "Bearer a random token", "origin": "https://e.example"}
    assert (await shop.call("POST", "/whoami", token)).text == "robot"
    assert (await shop.call("POST", "/whoami", {"x-staff": "zoe", "origin": "https://e.example"})).text == "zoe"


async def test_a_cookie_that_was_changed_or_has_ended_is_nobodys(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, _ = await sign_in(shop, "vera")
    name, _, value = sent.partition("=")
    payload, _, signature = value.partition(".")
    other = BrowserSessions(shop.plugin.saqueduct.signing_key, 60.0, lambda _: "other credentials")
    request: Any = type("Connection", (), {"scope": {"scheme": "https"}, "cookies": {}})
    stale = other.begin(request, Person("vera", Role.ADMIN)).value
    for forged in (f"{payload}.", f"{payload}.{signature[:-4]}AAAA", f"{payload[:-2]}AA.{signature}", "", ".", stale):
        assert (await shop.call("GET", "/whoami", {"cookie": f"{name}={forged}"})).text == "nobody", forged
    monkeypatch.setattr("saqueduct.litestar.browser_sessions.time.time", lambda: 4e9)
    assert (await shop.call("GET", "/whoami", {"cookie": sent})).text == "nobody"


async def test_the_token_of_forms_belongs_to_the_session_or_the_person(shop: Served) -> None:
    sessions = shop.plugin.access.sessions
    vera, omar = Person("vera", Role.VIEWER), Person("omar", Role.OPERATOR)

    def request(cookie: str = "") -> Any:
        name = f"__Host-{NAME}"
        return type("Connection", (), {"scope": {"scheme": "https"}, "cookies": {name: cookie} if cookie else {}})

    one, two = (request(sessions.begin(request(), vera).value or "") for _ in range(2))
    token = sessions.csrf_token(one, vera)
    assert sessions.is_csrf_token(one, vera, token)
    for connection, person in ((two, vera), (request(), vera), (request(), omar)):
        assert not sessions.is_csrf_token(connection, person, token)
    assert sessions.is_csrf_token(request(), omar, sessions.csrf_token(request(), omar))
    assert not sessions.is_csrf_token(one, vera, "")
    # Basic of omar with the cookie of vera: the cookie says nothing about omar's forms.
    assert not sessions.is_csrf_token(one, omar, token)
    assert sessions.csrf_token(one, omar) == sessions.csrf_token(request(), omar)
    assert not sessions.is_csrf_token(one, Person("vera", Role.ADMIN), token)
    with pytest.raises(ValueError, match="no credentials"):
        sessions.begin(request(), Person("sam", Role.OPERATOR))


async def test_each_refusal_is_one_line_in_the_log(
    shop: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "saqueduct.security")
    # Another test may have set up the logging of the process anew.
    monkeypatch.setattr(logging.getLogger("saqueduct.security"), "handlers", [caplog.handler])
    monkeypatch.setattr(logging.getLogger("saqueduct.security"), "propagate", False)
    await shop.call("POST", "/queue/queues/access/pause", basic("vera"))
    await shop.call("GET", "/queue/queues", {"x-remote-user": "root"})
    await shop.call("GET", "/queue/queues")
    refusals = [record.getMessage() for record in caplog.records if record.name == "saqueduct.security"]
    lines = [line.partition("203.0.113.9: ")[2] for line in refusals]
    assert lines == [
        "vera has the role viewer, operator is needed",
        "the header of a proxy from an address that is not trusted",
        "no credentials",
    ]


async def test_the_document_names_the_roles(shop: Served) -> None:
    paths = (await shop.call("GET", "/schema/openapi.json")).json()["paths"]
    pause, listed = paths["/queue/queues/{name}/pause"]["post"], paths["/queue/queues"]["get"]
    assert (pause["x-role"], listed["x-role"]) == ("operator", "viewer")
    assert pause["security"] == [{"AdminBasic": ["operator"]}, {"AdminToken": ["operator"]}]
    assert "Needs the role `viewer`." in listed["description"]
    assert {"401", "403"} <= listed["responses"].keys()
    assert "Shows more to the role `viewer`." in paths["/queue/jobs/{key}"]["get"]["description"]
