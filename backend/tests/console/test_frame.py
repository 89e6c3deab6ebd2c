"""What every page of the console has: who may enter, headers, forms, links."""

import re
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from saqueduct import SaqueductConfig, TaskRegistry
from saqueduct.common.secret import Secret
from saqueduct.console.entry import ConsoleEntry
from saqueduct.console.notes import Note, Notes
from saqueduct.console.pages.post_only import post_only_pages
from saqueduct.console.router import PAGES, console_router
from saqueduct.litestar import SaqueductPlugin
from saqueduct.litestar.access import person_of
from tests.console.conftest import MARKUP, PASSWORD, Served, code_in

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def routes(path: str | None = "/console", **fields: Any) -> list[tuple[str, str]]:
    """Methods and paths of an application's console."""
    config = SaqueductConfig(redis_url="redis://unused", registry=TaskRegistry(), console_path=path, **fields)
    app = Litestar([], plugins=[SaqueductPlugin(config)], logging_config=None)
    found = [route for route in app.routes if isinstance(route, HTTPRoute) and route.path.startswith("/console")]
    return [(method, route.path) for route in found for method in sorted(route.methods) if method != "OPTIONS"]


ROUTES = [each for each in routes(secret_key="k" * 32) if "/static/" not in each[1]]


GUARDED = [each for each in ROUTES if each[1] != "/console/login"]


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=[" ".join(each) for each in GUARDED])
def test_nobody_enters_without_the_credentials(served: Served, method: str, path: str) -> None:
    answer = httpx.request(method, f"{served.client.base_url}{path}", trust_env=False, timeout=60)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert "<h1>Please sign in</h1>" in answer.text


POSTS = [path for method, path in ROUTES if method == "POST"]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("token", ["", "x" * 43], ids=["none", "wrong"])
def test_no_form_is_accepted_without_its_token(served: Served, path: str, token: str) -> None:
    served.page()
    assert served.client.post(path, data={"token": token}).status_code == 403


@pytest.mark.parametrize("path", POSTS)
def test_no_form_of_another_site_is_accepted(served: Served, path: str) -> None:
    answer = served.client.post(path, data={}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "other sites" in answer.text


def test_a_note_that_was_not_made_here_is_not_shown() -> None:
    notes = Notes(Secret("k" * 32))
    value = notes.written(Note("Done."))
    assert notes.read(value) == Note("Done.")
    assert notes.read(value[:-2] + "xx") is None
    assert Notes(Secret("l" * 32)).read(value) is None
    assert notes.read("ü.") is None


@pytest.mark.parametrize("text", ["\N{HUNDRED POINTS SYMBOL}", "\x01", "a"], ids=["emoji", "escaped", "letter"])
@pytest.mark.parametrize("link", ["/console/job?key=a", "/" + "k" * 3_000], ids=["short", "long"])
def test_a_note_fits_into_a_cookie(text: str, link: str) -> None:
    notes = Notes(Secret("k" * 32))
    value = notes.written(Note(text * 5_000, "error", link, "label"))
    assert len(value) < 3_600
    read = notes.read(value)
    assert read is not None
    assert read.text.startswith(text * 300)
    assert read.text.endswith("…")
    assert read.link in (link, "")


def test_every_page_has_the_policy_and_no_inline_code(served: Served) -> None:
    for method, path in ROUTES:
        if method != "GET" or path.endswith("/live"):
            continue
        answer = served.client.get(path)
        assert answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert code_in(answer.text) == [], path


def test_files_are_kept_forever_under_a_name_with_their_hash(served: Served) -> None:
    for name in re.findall(r'(?:href|src)="(/console/static/[^"]+)"', served.page()):
        answer = httpx.get(f"{served.client.base_url}{name}", trust_env=False, timeout=60)
        assert re.search(r"\.[0-9a-f]{12}\.(css|js|svg)$", name)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert served.client.get("/console/static/console.css").status_code == 404
    assert served.client.get("/console/static/..%2frouter.py").status_code == 404


def test_the_cookies_are_out_of_the_reach_of_scripts_and_other_sites(served: Served) -> None:
    answer = httpx.get(f"{served.client.base_url}/console", auth=("ada", PASSWORD), trust_env=False, timeout=60)
    for cookie in answer.headers.get_list("set-cookie"):
        assert "httponly" in cookie.lower()
        assert "samesite=lax" in cookie.lower()
        assert "path=/console" in cookie.lower()


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(each) for each in ROUTES])
def test_no_route_ignores_a_parameter(served: Served, method: str, path: str) -> None:
    answer = served.client.request(method, path, params={"zzz": "1"}, follow_redirects=False)
    assert answer.status_code == 400
    assert "no parameter &#39;zzz&#39;" in answer.text


def test_an_unknown_parameter_is_named(served: Served) -> None:
    answer = served.client.get("/console/queues", params={"colour": "red"})
    assert answer.status_code == 400
    assert "no parameter &#39;colour&#39;" in answer.text


def test_theme_and_zone_are_kept(served: Served) -> None:
    assert served.submit("/look", theme="dark", back="/console/queues").headers["location"] == "/console/queues"
    served.submit("/look", zone="utc")
    assert '<html lang="en" data-theme="dark" data-zone="utc">' in served.page("/queues")
    served.submit("/look", theme="auto", zone="local")


@pytest.mark.parametrize(
    "back",
    ["https://evil.example", "//evil.example", "/console/..//evil.example\r\nX: y", "/consoles", "/queue", "\\\\evil"],
)
def test_an_action_leads_to_no_other_site(served: Served, back: str) -> None:
    assert served.submit("/look", back=back).headers["location"] == "/console"


def test_errors_are_pages_that_escape_what_was_asked(served: Served) -> None:
    answer = served.submit("/queues/pause", queue=MARKUP)
    assert answer.status_code == 404
    assert "<img" not in answer.text
    assert "&lt;img" in answer.text
    assert served.client.get("/console/nowhere").status_code == 404


def test_a_body_that_is_no_form_is_refused(served: Served) -> None:
    assert served.client.post("/console/look", json={}).status_code == 415


def test_the_console_can_be_left_out() -> None:
    assert routes(None) == []


def read_at(served: Served, path: str, **entry: Any) -> httpx.Response:
    """The answer of another application with the same queues, at /shop/api/eyes."""
    given: dict[str, Any] = {"guards": [], "person_of": person_of, "tokens": served.access.sessions}
    made = ConsoleEntry(**{**given, "sign_in": served.access, **entry})
    router = console_router(served.saqueduct, path="/eyes", entry=made, exception_handlers={}, base_path="/api")
    app = Litestar([router], path="/api", logging_config=None)

    async def read() -> httpx.Response:
        transport = httpx.ASGITransport(cast("Any", app), root_path="/shop")
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(f"/shop/api/eyes{path}")

    return served.run(read())


def test_an_open_development_says_so(served: Served) -> None:
    assert "to everyone on this machine" in read_at(served, "/queues", is_open=True).text
    assert "to everyone on this machine" not in read_at(served, "/queues").text


def test_there_is_no_login_where_no_password_is_set(served: Served) -> None:
    answer = read_at(served, "/login", sign_in=type("NoPasswords", (), {"takes_passwords": False}))
    assert (answer.status_code, answer.headers["location"]) == (303, "/shop/api/eyes")


def test_links_begin_with_the_paths_of_proxy_and_application(served: Served) -> None:
    page = read_at(served, "/queues").text
    assert 'href="/shop/api/eyes/queues" aria-current="page"' in page
    assert all(link.startswith("/shop/api/eyes") for link in re.findall(r'(?:href|src|action)="([^"#]+)"', page))


def test_the_templates_of_the_application_are_not_touched() -> None:
    config = SaqueductConfig(redis_url="redis://unused", registry=TaskRegistry(), secret_key="k" * 32)
    app = Litestar([], plugins=[SaqueductPlugin(config)], logging_config=None)
    assert app.template_engine is None


def test_an_unknown_address_is_a_page(served: Served) -> None:
    for path in ("/nothing", "/jobs/of/nobody", "/nothing/"):
        answer = served.client.get(f"/console{path}")
        assert answer.status_code == 404, path
        assert answer.headers["content-type"].startswith("text/html")
        assert "the console has no page" in answer.text
    assert served.client.get(f"/console/{MARKUP}").status_code == 404
    assert MARKUP not in served.client.get(f"/console/{MARKUP}").text


def test_the_address_of_a_form_is_a_page_with_a_way_back(served: Served) -> None:
    paths = post_only_pages(PAGES).paths
    assert {"/jobs/change", "/look", "/queues/pause", "/logout"} <= paths
    for path in sorted(paths):
        answer = served.client.get("/console" + re.sub(r"\{(\w+):\w+\}", "x", path))
        assert answer.status_code == 405, path
        assert answer.headers["content-type"].startswith("text/html"), path
        assert answer.headers["allow"] == "POST"
        assert "Go to the overview" in answer.text
        assert "Not a page" in answer.text
