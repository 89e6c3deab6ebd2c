"""A tab of Chromium for each module of tests, in which the admin has signed in."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

REPORT = "addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective}`))"
"""Says each violation of the policy, also of those directives that Chromium does not report by itself."""

# Five seconds by default, which a busy machine may need to start a page.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module", name="tab")
def tab_fixture(chromium: Browser, served: Any) -> Iterator[tuple[Page, list[str]]]:
    """A tab, and what it has complained of: violations of the policy, errors of the script."""
    context = chromium.new_context(bypass_csp=False, timezone_id="Europe/Berlin", accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, complaints = context.new_page(), list[str]()

    def shown(dialog: Dialog) -> None:
        complaints.append(f"dialog {dialog.message}")
        dialog.dismiss()

    page.add_init_script(REPORT)
    page.goto(f"{served.url}/queues")
    page.get_by_label("Name").fill(served.admin[0])
    page.get_by_label("Password").fill(served.admin[1])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Queues", level=1)).to_be_visible()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", shown)
    yield page, complaints
    context.close()


@pytest.fixture(name="page")
def page_fixture(tab: tuple[Page, list[str]]) -> Iterator[Page]:
    """The tab; a complaint fails the test."""
    page, complaints = tab
    complaints.clear()
    yield page
    # The browser reports the closed stream of a page that it has left, and pages of an error.
    assert [text for text in complaints if "ERR_" not in text and "status of 40" not in text] == []
    assert page.title() != "owned"
