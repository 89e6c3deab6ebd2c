"""The login page: what browsers get instead of the question for a password, and signing out."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest

from saqueduct.console.sign_in import is_own
from saqueduct.litestar.browser_sessions import NAME, VISITOR
from saqueduct.litestar.credentials import REFUSALS_PER_MINUTE
from tests.console.conftest import ADMIN, MARKUP, PASSWORD, VIEWER, Served, code_in
from tests.fixtures.kept_alive import KEPT_ALIVE

PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def browser(served: Served) -> Iterator[httpx.Client]:
    """A browser without credentials, from which no wrong password has come."""
    served.run(_forget_attempts(served))
    with httpx.Client(
        base_url=served.client.base_url, headers=PAGE, timeout=60, limits=KEPT_ALIVE, trust_env=False
    ) as client:
        yield client


async def _forget_attempts(served: Served) -> None:
    redis = next(iter(served.saqueduct.queues)).redis
    async for key in redis.scan_iter("*attempts:*"):
        await redis.delete(key)


def fields(page: str) -> dict[str, str]:
    """The hidden fields of the form of a page."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in found}


def sign_in(
    browser: httpx.Client, name: str, password: str, page: str = "/console/login", **more: str
) -> httpx.Response:
    """Open a page, which leads to the login, and send its form."""
    form = browser.get(page, follow_redirects=True)
    return browser.post("/console/login", data={**fields(form.text), "name": name, "password": password, **more})


def test_a_browser_is_led_to_the_login_and_back_to_the_page_that_it_asked_for(browser: httpx.Client) -> None:
    answer = browser.get("/console/jobs", params={"q": "to:ada & co", "status": "failed"})
    assert answer.status_code == 303
    assert "www-authenticate" not in answer.headers
    page = browser.get(answer.headers["location"])
    assert page.status_code == 200
    assert code_in(page.text) == []
    answer = sign_in(browser, *ADMIN, page="/console/jobs?q=to%3Aada+%26+co&status=failed")
    assert answer.headers["location"] == "/console/jobs?q=to%3Aada+%26+co&status=failed"
    page = browser.get(answer.headers["location"])
    assert page.status_code == 200
    assert 'value="to:ada &amp; co"' in page.text


def test_saqs_page_leads_there_and_back(browser: httpx.Client) -> None:
    assert sign_in(browser, *ADMIN, page="/saq/queues/default").headers["location"] == "/saq/queues/default"
    assert browser.get("/saq/queues/default").status_code == 200
    assert browser.get("/saq/", headers={"accept": "*/*"}).status_code == 200


def test_a_session_has_the_role_of_its_person_and_ends_with_signing_out(browser: httpx.Client) -> None:
    assert sign_in(browser, *VIEWER).status_code == 303
    page = browser.get("/console/queues").text
    assert VIEWER[0] in page
    assert "Pause</summary>" not in page
    token = fields(page)["token"]
    assert browser.post("/console/queues/pause", data={"token": token, "queue": "reports"}).status_code == 403
    assert browser.post("/console/logout", data={"token": "x"}).status_code == 403
    assert browser.post("/console/logout", data={"token": token}).headers["location"] == "/console/login"
    assert NAME not in browser.cookies
    assert browser.get("/console/queues").status_code == 303


def test_the_cookies_are_out_of_the_reach_of_scripts_and_other_sites(browser: httpx.Client) -> None:
    cookies = [*browser.get("/console/login").headers.get_list("set-cookie")]
    cookies += sign_in(browser, *ADMIN).headers.get_list("set-cookie")
    assert {cookie.partition("=")[0] for cookie in cookies} == {VISITOR, NAME}
    for cookie in cookies:
        assert "httponly" in cookie.lower()
        assert "samesite=lax" in cookie.lower()


def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(browser: httpx.Client) -> None:
    answers = [sign_in(browser, name, password) for name, password in (("eve", PASSWORD), (ADMIN[0], "eve"), ("", ""))]
    for answer in answers:
        assert answer.status_code == 403
        assert "The name or the password is wrong." in answer.text
        assert "www-authenticate" not in answer.headers
        assert NAME not in browser.cookies
    # The name is kept, the password is not.
    assert 'value="eve"' in answers[0].text
    assert PASSWORD not in answers[0].text


def test_a_form_without_the_token_of_this_browser_signs_nobody_in(browser: httpx.Client, served: Served) -> None:
    other = httpx.get(f"{served.url}/login", headers=PAGE, trust_env=False)
    for token in ("", "x" * 43, fields(other.text)["token"]):
        answer = sign_in(browser, *ADMIN, token=token)
        assert answer.status_code == 403
        assert "Try again" in answer.text
        assert NAME not in browser.cookies
    without_cookie = {**fields(other.text), "name": ADMIN[0], "password": PASSWORD}
    assert httpx.post(f"{served.url}/login", data=without_cookie, trust_env=False).status_code == 403


def test_a_form_of_another_site_signs_nobody_in(browser: httpx.Client) -> None:
    form = fields(browser.get("/console/login").text)
    data = {**form, "name": ADMIN[0], "password": PASSWORD}
    answer = browser.post("/console/login", data=data, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "other sites" in answer.text
    assert NAME not in browser.cookies


def test_too_many_wrong_passwords_stop_correct_ones(browser: httpx.Client, served: Served) -> None:
    for _ in range(REFUSALS_PER_MINUTE):
        assert sign_in(browser, "eve", "guess").status_code == 403
    answer = sign_in(browser, *ADMIN)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "Too many attempts from your network" in answer.text
    served.run(_forget_attempts(served))
    assert sign_in(browser, *ADMIN).status_code == 303


def test_a_form_after_the_session_has_ended_leads_to_the_login_and_the_page_it_was_on(
    browser: httpx.Client, served: Served
) -> None:
    here = {"referer": f"{served.url}/queues?zzz=1"}
    answer = browser.post("/console/queues/pause", data={"queue": "reports"}, headers=here)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/login?next=%2Fconsole%2Fqueues%3Fzzz%3D1"


@pytest.mark.parametrize(
    "headers", [{"accept": "text/event-stream"}, {"accept": "*/*", "sec-fetch-mode": "cors"}], ids=["stream", "script"]
)
def test_a_script_of_the_page_gets_no_question_for_a_password(browser: httpx.Client, headers: dict[str, str]) -> None:
    answer = browser.get("/console/live", headers=headers)
    assert answer.status_code == 401
    assert "www-authenticate" not in answer.headers


def test_basic_is_still_accepted_and_asked_for_again_when_it_is_wrong(browser: httpx.Client) -> None:
    page = browser.get("/console", auth=ADMIN)
    assert page.status_code == 200
    assert "Sign out" not in page.text
    assert browser.get("/console", auth=("ada", "wrong")).headers["www-authenticate"].startswith("Basic")


def test_a_form_of_somebody_with_basic_and_the_cookie_of_another_is_theirs(browser: httpx.Client) -> None:
    sign_in(browser, *VIEWER)
    token = fields(browser.get("/console/queues").text)["token"]
    data = {"token": token, "queue": "reports"}
    assert browser.post("/console/queues/resume", data=data, auth=ADMIN).status_code == 403
    data["token"] = fields(browser.get("/console/queues", auth=ADMIN).text)["token"]
    assert browser.post("/console/queues/resume", data=data, auth=ADMIN).status_code == 303


@pytest.mark.parametrize(
    "goal", ["https://evil.example", "//evil.example", "/console\\..\\evil", "/queue/tasks", "", MARKUP]
)
def test_signing_in_leads_to_no_other_site(browser: httpx.Client, goal: str) -> None:
    page = browser.get("/console/login", params={"next": goal})
    assert code_in(page.text) == []
    assert sign_in(browser, *ADMIN, next=goal).headers["location"] == "/console"


@pytest.mark.parametrize(
    ("address", "own"),
    [
        *(
            (own, True)
            for own in ("/console", "/console?q=1", "/console/jobs?q=../..", "/saq/queues/a", "/console/t/..a")
        ),
        *(
            (other, False)
            for other in ("/consoles", "/console/\n", "/console/..", "/console/../logout", "/console/./a")
        ),
        *((other, False) for other in ("/console/.%2E//evil.example", "/console/jobs/%2e%2e/..", "/console/..#x")),
    ],
)
def test_only_pages_of_the_application_are_own(address: str, own: bool) -> None:
    assert is_own(address, ["/console", "/saq"]) is own


def test_a_large_form_of_somebody_unknown_is_refused(browser: httpx.Client) -> None:
    data: dict[str, Any] = {"name": "a" * 20_000, "password": "b"}
    assert browser.post("/console/login", data=data).status_code == 413
