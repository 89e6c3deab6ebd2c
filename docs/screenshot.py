"""Take the pictures of the console in the documents: `.venv/bin/python docs/screenshot.py http://127.0.0.1:8000`.

Needs a running `make dev` with `make demo`, whose admin routes are open to this machine, and a Chromium.
"""

import shutil
import sys
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, ViewportSize, sync_playwright

IMAGES = Path(__file__).parent / "images"
BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
WIDE: ViewportSize = {"width": 1440, "height": 810}
LIST: ViewportSize = {"width": 1440, "height": 620}
PHONE: ViewportSize = {"width": 360, "height": 780}
LARGEST = 150_000
"""Bytes of a picture."""


class Picture(NamedTuple):
    """A picture: its file, the page below /console, and what the page must show first."""

    name: str
    page: str
    shows: str
    size: ViewportSize = WIDE
    scheme: Literal["light", "dark"] = "light"


PICTURES = (
    Picture("console", "", "svg.plot"),
    Picture("console-jobs", "/jobs?q=task:capture_payment", "table .badge.complete", size=LIST, scheme="dark"),
    Picture("console-job", "/jobs?tag=demo&status=failed&task=send_email", "table a.task"),
    Picture("console-phone", "", "svg.plot", size=PHONE),
)
"""The third one is that of the first job on its page."""


def main(url: str) -> None:
    """Take all pictures."""
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        sys.exit("no Chromium on this machine: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        for picture in PICTURES:
            take(browser, f"{url}/console", picture)
        browser.close()


def take(browser: Browser, console: str, picture: Picture) -> None:
    """Take one; a picture that is too large for the repository ends the program."""
    file = IMAGES / f"{picture.name}.png"
    page = browser.new_page(viewport=picture.size, color_scheme=picture.scheme)
    page.goto(console + picture.page)
    page.locator(picture.shows).first.wait_for()
    if picture.name == "console-job":
        page.locator(picture.shows).first.click()
        page.locator(".timeline").wait_for()
    page.screenshot(path=file)
    page.close()
    if (size := file.stat().st_size) > LARGEST:
        sys.exit(f"{file} has {size:,} bytes, more than {LARGEST:,}")
    print(f"{file}: {size:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1].rstrip("/"))
