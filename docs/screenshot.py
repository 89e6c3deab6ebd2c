"""Take the README's picture of /saq: `.venv/bin/python docs/screenshot.py http://127.0.0.1:8000`.

Needs a running `make dev` (its admin routes must be open to this machine) and a Chromium.
"""

import shutil
import sys
from pathlib import Path

import httpx
from playwright.sync_api import Page, ViewportSize, sync_playwright

IMAGE = Path(__file__).parent / "images" / "saq.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE: ViewportSize = {"width": 1280, "height": 800}


REPORTS_WITHIN = 30
"""Seconds until a worker has started and reported how many jobs it has run."""


def main(url: str) -> None:
    """Run some jobs, then photograph the page of the queue `default`."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        for user_id in range(1, 6):
            client.post("/process", params={"user_id": user_id}).raise_for_status()
        client.post("/tasks/batch_process", json={"batch_size": 10}).raise_for_status()
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        sys.exit("no Chromium on this machine: apt-get install chromium")
    IMAGE.parent.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{url}/saq/queues/default")
        _wait_until_the_jobs_are_counted(page)
        page.screenshot(path=IMAGE, full_page=True)
        browser.close()
    print(IMAGE)


def _wait_until_the_jobs_are_counted(page: Page) -> None:
    """Reload until the worker's row shows jobs that are complete."""
    row = page.locator("table", has_text="Uptime").locator("tbody tr").first
    for _ in range(REPORTS_WITHIN):
        row.wait_for()
        if int(row.locator("td").nth(1).inner_text()):
            return
        page.wait_for_timeout(1000)
        page.reload()
    sys.exit(f"no worker has run a job within {REPORTS_WITHIN} s")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1].rstrip("/"))
